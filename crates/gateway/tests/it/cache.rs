//! The response cache, as clients and origins see it.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use seawall_gateway::Running;

use super::support::{Origin, Setup, get, metric, write_response};

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

fn count(running: &Running, result: &str) -> f64 {
    metric(
        running,
        &format!("seawall_cache_requests_total{{result=\"{result}\"}}"),
    )
}

#[test]
fn what_is_fresh_is_answered_without_the_origin() {
    let origin = counting("cache-control: max-age=60\r\nx-own: yes\r\n");
    let running = cached(&origin, "");
    let first = get(running.addr, "/a");
    assert_eq!((first.status(), first.text().as_str()), (200, "1"));
    assert_eq!(first.get("cache-status"), Some("seawall; fwd=miss; stored"));
    assert_eq!(first.get("age"), None);
    let second = get(running.addr, "/a");
    assert_eq!((second.status(), second.text().as_str()), (200, "1"));
    assert_eq!(second.get("cache-status"), Some("seawall; hit"));
    assert_eq!(second.get("age"), Some("0"));
    assert_eq!(second.get("x-own"), Some("yes"));
    assert_eq!(get(running.addr, "/a?b").text(), "2");
    assert_eq!(origin.requests(), 2);
    assert_eq!(
        (count(&running, "hit"), count(&running, "miss")),
        (1.0, 2.0)
    );
}
