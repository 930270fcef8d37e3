//! The access log.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use seawall::telemetry::{Log, LogSettings};
use serde_json::Value;

use crate::support::{Client, Origin, Setup, ask, assert_all_free};

/// Somewhere to write to that can be read.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What a gateway writes while `act` uses it.
fn written(setup: Setup, mode: &str, act: impl FnOnce(SocketAddr)) -> Vec<Value> {
    let page = Page::default();
    let (log, written) = Log::start(page.clone(), LogSettings::default()).unwrap();
    let gateway = setup
        .rest(&format!("[access_log]\n{mode}\n"))
        .start_with_log(Some(log));
    act(gateway.addr);
    assert_all_free(&gateway);
    // Ends every request, and then writes what waits.
    drop(gateway);
    drop(written);
    let page = page.0.lock().unwrap();
    page.split_inclusive(|byte| *byte == b'\n')
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

#[test]
fn every_request_is_one_line() {
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let origin = Origin::echo();
    let lines = written(Setup::to(origin.addr), "mode = 'all'", |addr| {
        let request = format!(
            "POST /cart/17?token=secret HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
             traceparent: {TRACE}\r\ncontent-length: 5\r\n\r\nhello"
        );
        assert_eq!(ask(addr, &request).status(), 200);
        assert_eq!(ask(addr, "GET / HTTP/1.1\r\n\r\n").status(), 400);
        let mut client = Client::connect(addr);
        for _ in 0..3 {
            client.send("GET /next HTTP/1.1\r\nhost: a\r\n\r\n");
            assert_eq!(client.response().unwrap().status(), 200);
        }
    });
    let of = |name: &str| {
        lines
            .iter()
            .map(|line| line[name].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(of("path"), ["/cart/17", "/", "/next", "/next", "/next"]);
    assert_eq!(of("status"), [200, 400, 200, 200, 200]);
    let first = &lines[0];
    assert_eq!(first["target"], "access");
    assert_eq!(first["method"], "POST");
    assert_eq!(first["client"], "127.0.0.1");
    assert_eq!(first["listener"], "default");
    assert_eq!(first["criticality"], "critical");
    assert_eq!(first["traceparent"], TRACE);
    assert_eq!(first["received"], 5);
    assert!(first["sent"].as_u64().unwrap() > 5, "{first}");
    assert!(first["origin_ms"].as_f64() <= first["duration_ms"].as_f64());
    assert!(!first.to_string().contains("secret"), "{first}");
    assert!(first.get("rejected").is_none() && lines[1].get("origin_ms").is_none());
}

#[test]
fn a_rejection_says_why() {
    let nobody = SocketAddr::from(([127, 0, 0, 1], seawall_testkit::free_port().unwrap()));
    let lines = written(Setup::to(nobody), "mode = 'all'", |addr| {
        let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        assert_eq!(ask(addr, request).status(), 502);
    });
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (&lines[0]["status"], &lines[0]["rejected"]),
        (&502.into(), &"unreachable".into())
    );
}

#[test]
fn a_sample_is_neither_all_nor_nothing() {
    const REQUESTS: usize = 256;
    let origin = Origin::echo();
    let count = |mode| {
        let lines = written(Setup::to(origin.addr), mode, |addr| {
            let mut client = Client::connect(addr);
            for _ in 0..REQUESTS {
                client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
                assert_eq!(client.response().unwrap().status(), 200);
            }
        });
        lines.len()
    };
    // Eight standard deviations either way of a half.
    let sampled = count("mode = 'sampled'\nsample = 0.5");
    assert!((64..192).contains(&sampled), "{sampled}");
    assert_eq!(count("mode = 'sampled'\nsample = 1.0"), REQUESTS);
    assert_eq!(count("mode = 'off'"), 0);
}
