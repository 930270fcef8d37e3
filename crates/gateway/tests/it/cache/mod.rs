//! The response cache, as clients and origins see it.

mod collapse;
mod hits;
mod hostile;
mod over_h2;
mod purge;
mod stale;
mod users;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};

use seawall_gateway::Running;

use super::support::{Message, Origin, Setup, ask, metric, write_response};

const ROUTE: &str = "[[routes]]\npath_prefix = '/'\n[routes.cache]\n";

fn cached(origin: &Origin, lines: &str) -> Running {
    Setup::to(origin.addr)
        .rest(&format!("{ROUTE}{lines}\n"))
        .start()
}

/// Answers everything with these headers, and in the body how many requests there were.
fn counting(headers: &'static str) -> Origin {
    let count = AtomicUsize::new(0);
    Origin::serving(move |_, stream| {
        let body = (count.fetch_add(1, SeqCst) + 1).to_string();
        write_response(stream, "200 OK", headers, body.as_bytes());
        true
    })
}

/// A request with these header lines.
fn with(addr: SocketAddr, method: &str, path: &str, lines: &str) -> Message {
    let host = if lines.starts_with("host:") {
        ""
    } else {
        "host: test\r\n"
    };
    ask(
        addr,
        &format!("{method} {path} HTTP/1.1\r\n{host}connection: close\r\n{lines}\r\n"),
    )
}

fn count(running: &Running, result: &str) -> f64 {
    let name = format!("seawall_cache_requests_total{{result=\"{result}\"}}");
    metric(running, &name)
}

fn fills(running: &Running, result: &str) -> f64 {
    let name = format!("seawall_cache_fills_total{{result=\"{result}\"}}");
    metric(running, &name)
}

/// What an origin waits at until it is opened.
#[derive(Clone, Default)]
struct Barrier(Arc<(Mutex<bool>, Condvar)>);

impl Barrier {
    fn pass(&self) {
        let open = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(open, |open| !*open).unwrap());
    }

    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}
