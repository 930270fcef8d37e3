//! An HTTP origin whose capacity is known: N slots of S milliseconds behind an unbounded queue.
//!
//! It speaks HTTP/1.1 and HTTP/2 (prior knowledge) on one port and answers
//! `application/grpc` with trailers. It runs on one thread of its own, so it costs the machine
//! little and its timing is that of the kernel's timers, not of a busy runtime.
//!
//! Paths under `/_origin/` steer it and need no slot: `GET /_origin/stats` returns [`Stats`] as
//! JSON; `POST /_origin/capacity?slots=6` or `?service_ms=66` changes its capacity for work that
//! begins from then on, and `?status=500` what it answers.

mod http;
mod service;
mod shared;
mod slots;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use tokio::sync::oneshot;

pub use service::{BLOCK, Distribution, Sampler};
use shared::Shared;
pub use slots::{Gone, Slots, Standing, Stats};

/// The protocols the origin's port answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub enum Protocol {
    /// Whichever the client begins to speak.
    #[default]
    Auto,
    /// HTTP/1.1 only.
    H1,
    /// HTTP/2 with prior knowledge only.
    H2,
}

/// What the origin is like.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Requests served at the same time; the rest wait in an unbounded queue, first in first out.
    #[arg(long, default_value_t = 20)]
    pub slots: usize,
    /// Mean service time in milliseconds, fractions allowed.
    #[arg(long = "service-ms", value_name = "MS", default_value = "20", value_parser = milliseconds)]
    pub service: Duration,
    /// How service times are spread around their mean.
    #[arg(long = "dist", value_enum, default_value_t)]
    pub distribution: Distribution,
    /// A mean service time for paths that begin with PREFIX; may be given again.
    #[arg(long = "path", value_name = "PREFIX=MS", value_parser = path_service)]
    pub paths: Vec<(String, Duration)>,
    /// Service times stretch by 1 + F × (requests at the origin ÷ slots); 0 does not slow.
    #[arg(long, value_name = "F", default_value_t = 0.0)]
    pub slows: f64,
    /// What to do with work whose caller has left.
    #[arg(long, value_enum, default_value_t)]
    pub gone: Gone,
    /// Bytes in an answer.
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    pub answer_bytes: usize,
    /// Protocols to answer.
    #[arg(long, value_enum, default_value_t)]
    pub protocol: Protocol,
    /// Seed of the service times.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl Default for Config {
    /// 20 slots × 20 ms, fixed: about 1,000 requests a second.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            slots: 20,
            service: Duration::from_millis(20),
            distribution: Distribution::Fixed,
            paths: Vec::new(),
            slows: 0.0,
            gone: Gone::Skip,
            answer_bytes: 64,
            protocol: Protocol::Auto,
            seed: 1,
        }
    }
}

/// Parses a positive number of milliseconds.
fn milliseconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|ms: f64| Duration::try_from_secs_f64(ms / 1000.0).ok())
        .filter(|time| *time < Duration::from_secs(3600))
        .ok_or_else(|| format!("`{text}` is not a number of milliseconds under an hour"))
}

fn path_service(text: &str) -> Result<(String, Duration), String> {
    let (prefix, ms) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` is not of the form /prefix=milliseconds"))?;
    Ok((prefix.to_owned(), milliseconds(ms)?))
}

/// A running origin; dropping it closes its port and ends its thread.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Origin {
    /// Starts an origin; it answers as soon as this returns.
    ///
    /// # Errors
    /// Fails when the address is taken or the process is out of threads or descriptors.
    ///
    /// ```no_run
    /// # fn main() -> anyhow::Result<()> {
    /// use seawall_bench::origin::{Config, Origin};
    ///
    /// let origin = Origin::start(Config::default())?;
    /// println!("{}", origin.address());
    /// origin.set_slots(6); // falls to 30 %
    /// # Ok(()) }
    /// ```
    pub fn start(config: Config) -> anyhow::Result<Self> {
        let listener = http::listen(config.listen)
            .with_context(|| format!("the origin cannot listen on {}", config.listen))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(config));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .context("the origin has no runtime")?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("origin".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || {
                    runtime.block_on(async {
                        tokio::select! {
                            _ = stopped => {}
                            _ = shared.drive() => {}
                            _ = http::serve(listener, &shared) => {}
                        }
                    });
                }
            })
            .context("the origin has no thread")?;
        Ok(Self {
            address,
            shared,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The counts so far, up to this instant.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats(Instant::now())
    }

    /// Changes the number of slots; running work finishes.
    pub fn set_slots(&self, slots: usize) {
        self.shared.set_slots(slots, Instant::now());
    }

    /// Changes the mean service time of work that comes in from now on.
    pub fn set_service(&self, service: Duration) {
        self.shared.set_service(service);
    }

    /// Waits until the origin ends, which it does by itself only on a fault.
    ///
    /// # Errors
    /// Always returns an error: an origin has no reason to end.
    pub fn wait(mut self) -> io::Result<()> {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        Err(io::Error::other("the origin ended"))
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_positive_and_bounded() {
        assert_eq!(milliseconds("0.5"), Ok(Duration::from_micros(500)));
        for wrong in ["-1", "nan", "inf", "20ms", "", "1e12"] {
            assert!(milliseconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_path_has_its_own_service_time() {
        let parsed = path_service("/slow=200");
        assert_eq!(parsed, Ok(("/slow".to_owned(), Duration::from_millis(200))));
        assert!(path_service("/slow").is_err());
    }
}
