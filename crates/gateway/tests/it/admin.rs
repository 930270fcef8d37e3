//! The admin listener.

use crate::support::{Client, Origin, Setup, ask, eventually, get, metric};

#[test]
fn what_it_answers() {
    let origin = Origin::echo();
    let gateway = Setup::to(origin.addr).start();
    assert_eq!(get(gateway.addr, "/x/123").status(), 200);
    for (path, status, part) in [
        ("/healthz", 200, "alive"),
        ("/readyz", 200, "ready"),
        ("/metrics", 200, "seawall_responses_total{class=\"2xx\"} 1"),
        ("/explain", 200, "\"algorithm\": \"adaptive\""),
        ("/explain?text", 200, "upstream default"),
        ("/", 404, "/metrics"),
    ] {
        let response = get(gateway.admin, path);
        assert_eq!(response.status(), status, "{path}");
        assert!(
            response.text().contains(part),
            "{path}: {}",
            response.text()
        );
    }
    assert_eq!(
        ask(
            gateway.admin,
            "POST /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
        )
        .status(),
        405
    );
    let metrics = get(gateway.admin, "/metrics").text();
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    assert!(metrics.contains("le=\"+Inf\""), "{metrics}");
}

#[test]
fn a_token_is_asked_of_everyone() {
    let origin = Origin::echo();
    let gateway = Setup::to(origin.addr)
        .rest("token = \"0123456789abcdef\"\n")
        .start();
    for path in ["/healthz", "/metrics", "/explain"] {
        assert_eq!(get(gateway.admin, path).status(), 401, "{path}");
        for (token, status) in [
            ("0123456789abcdef", 200),
            ("0123456789abcdeF", 401),
            ("0123456789abcde", 401),
            ("", 401),
        ] {
            let request = format!(
                "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\r\n"
            );
            assert_eq!(
                ask(gateway.admin, &request).status(),
                status,
                "{path} {token}"
            );
        }
    }
}

#[test]
fn how_busy_it_is() {
    let origin = Origin::echo();
    let gateway = Setup::to(origin.addr).start();
    // The second sample gives the first value; the limits have got it when it is explained.
    eventually("the CPU reaches the gate", || {
        let explained = get(gateway.admin, "/explain?text").text();
        explained.contains(" % CPU")
    });
    let used = metric(&gateway, "seawall_cpu_used");
    assert!((0.0..=1.0).contains(&used), "{used}");
    eventually("every core is probed", || {
        metric(&gateway, "seawall_scheduling_delay_seconds{core=\"0\"}") > 0.0
    });
    let queueing = "seawall_queueing_delay_seconds{upstream=\"default\"}";
    assert_eq!(metric(&gateway, queueing), 0.0);
}

#[test]
fn whoever_holds_on_makes_room() {
    let origin = Origin::echo();
    let gateway = Setup::to(origin.addr).start();
    let mut idle: Vec<_> = (0..100).map(|_| Client::connect(gateway.admin)).collect();
    // Answered while all of them are open, since the ones that came first have gone.
    assert_eq!(get(gateway.admin, "/healthz").status(), 200);
    assert!(idle[0].is_closed());
    let request = "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";
    let last = idle[50].send(request).response();
    assert_eq!(last.map(|response| response.status()), Some(200));
}
