//! Open-loop load: requests are due at times of their own, whatever became of earlier ones.
//!
//! Latency counts from the instant a request was *due*. A generator that is itself late would
//! charge its delay to the server, so its lateness is measured, and a round in which the 99th
//! percentile exceeds [`LATENESS_LIMIT`] says nothing ([`Report::is_void`]).
//!
//! A request whose time is up closes its connection (HTTP/2: resets its stream), as a client
//! would. Idle connections are reused latest first, and a new one is opened when none is idle.

mod answer;
mod args;
mod arrivals;
mod h1;
mod h2;
mod report;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::ValueEnum;

pub use args::LoadArgs;
pub use arrivals::Arrivals;
pub use report::{Bucket, ClassReport, LATENESS_LIMIT, Outcome, Report, WIDTH};

/// What goes over the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Wire {
    /// HTTP/1.1, one request at a time on a connection.
    #[default]
    H1,
    /// HTTP/2 with prior knowledge.
    H2,
    /// gRPC: HTTP/2, a framed message, the outcome in `grpc-status`.
    Grpc,
}

/// A rate that holds for a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// How long.
    pub lasts: Duration,
    /// Requests a second on average; 0 pauses.
    pub rate: f64,
}

impl Step {
    /// `rate` requests a second for `seconds`.
    #[must_use]
    pub fn new(rate: f64, seconds: f64) -> Self {
        Self {
            lasts: Duration::from_secs_f64(seconds),
            rate,
        }
    }
}

/// Requests of one kind: a Poisson process of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Class {
    /// Name in the report.
    pub name: String,
    /// Path and query.
    pub path: String,
    /// Extra headers.
    pub headers: Vec<(String, String)>,
    /// Bytes of request body; more than 0 makes it a POST.
    pub upload: usize,
    /// A JSON body instead, which makes it a POST; `@n@` in it becomes a number that no other call
    /// of a plan with another seed has either. HTTP/1.1 only.
    pub json: Option<String>,
    /// The least time between pieces of 64 KiB of the upload: a slow sender.
    pub pace: Duration,
    /// From the due time to the last byte; then the client hangs up.
    pub timeout: Duration,
    /// Rates over time, from the start.
    pub steps: Vec<Step>,
}

impl Class {
    /// GETs of `/` with a timeout of 250 ms.
    #[must_use]
    pub fn new(name: &str, steps: Vec<Step>) -> Self {
        Self {
            name: name.to_owned(),
            path: "/".to_owned(),
            headers: Vec::new(),
            upload: 0,
            json: None,
            pace: Duration::ZERO,
            timeout: Duration::from_millis(250),
            steps,
        }
    }

    /// The same with another path.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// The same with one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with another timeout.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same as a POST of `bytes`.
    #[must_use]
    pub fn upload(mut self, bytes: usize) -> Self {
        self.upload = bytes;
        self
    }

    /// The same as a POST of this JSON, see [`Class::json`](field@Class::json); HTTP/1.1 only.
    #[must_use]
    pub fn json(mut self, body: &str) -> Self {
        self.json = Some(body.to_owned());
        self.header("content-type", "application/json")
    }

    /// The same with at least `pace` between pieces of 64 KiB of the upload; HTTP/1.1 only.
    #[must_use]
    pub fn pace(mut self, pace: Duration) -> Self {
        self.pace = pace;
        self
    }
}

/// What to send where.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server.
    pub target: SocketAddr,
    /// Protocol.
    pub wire: Wire,
    /// The most connections at a time; a request beyond them waits, and its time runs.
    pub connections: usize,
    /// The kinds of requests.
    pub classes: Vec<Class>,
    /// Keeps this many requests of the first class under way instead, for the time its steps
    /// take: closed-loop, to saturate a server and measure its capacity. HTTP/1.1 only.
    pub saturate: Option<usize>,
    /// Latencies are those of requests due in this part of the run.
    pub measured: std::ops::Range<Duration>,
    /// Seed of the arrivals.
    pub seed: u64,
}

impl Plan {
    /// HTTP/1.1, at most 10,000 connections, everything measured.
    #[must_use]
    pub fn new(target: SocketAddr, classes: Vec<Class>) -> Self {
        Self {
            target,
            wire: Wire::H1,
            connections: 10_000,
            classes,
            saturate: None,
            measured: Duration::ZERO..Duration::MAX,
            seed: 1,
        }
    }

    /// Closed-loop: `workers` requests under way for `seconds`.
    #[must_use]
    pub fn saturating(target: SocketAddr, workers: usize, seconds: f64) -> Self {
        let class = Class::new("saturating", vec![Step::new(0.0, seconds)])
            .timeout(Duration::from_secs(60));
        Self {
            saturate: Some(workers),
            ..Self::new(target, vec![class])
        }
    }
}

/// Runs the plan on this thread and returns when every request has an outcome.
///
/// # Errors
/// Fails when the process cannot have an epoll or timer descriptor. A server that refuses or
/// resets connections is a result ([`Outcome::Error`]), not a failure.
pub fn run(plan: &Plan) -> io::Result<Report> {
    run_from(plan, Instant::now())
}

/// Like [`run`], with the start of the run given, so that other threads can act at a known time.
///
/// # Errors
/// As [`run`].
pub fn run_from(plan: &Plan, start: Instant) -> io::Result<Report> {
    match plan.wire {
        Wire::H1 => h1::run(plan, start),
        Wire::H2 | Wire::Grpc => h2::run(plan, start),
    }
}
