//! Several hosts behind one upstream: balance, ejection, retries, breaker, replicas, reserve.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use seawall_gateway::Running;

use crate::support::{
    Client, Origin, Setup, ask, assert_all_free, eventually, get, metric, write_response,
};

/// Answers with its name.
pub(crate) fn named(name: &'static str) -> Origin {
    Origin::serving(move |_, stream| {
        write_response(stream, "200 OK", "", name.as_bytes());
        true
    })
}

/// Answers with this status line.
fn failing(status: &'static str, headers: &'static str) -> Origin {
    Origin::serving(move |_, stream| {
        write_response(stream, status, headers, b"");
        true
    })
}

/// An address where nobody listens.
pub(crate) fn nobody() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], seawall_testkit::free_port().unwrap()))
}

fn list(addresses: &[SocketAddr]) -> String {
    let quoted: Vec<_> = addresses.iter().map(|a| format!("\"{a}\"")).collect();
    format!("[{}]", quoted.join(", "))
}

fn start(addresses: &[SocketAddr], lines: &str) -> Running {
    let gateway = Setup::to(addresses[0])
        .upstream(&format!("endpoints = {}\n{lines}", list(addresses)))
        .start();
    eventually("its hosts are known", || {
        get(gateway.admin, "/metrics")
            .text()
            .contains(&format!("host=\"{}\"", addresses[0]))
    });
    gateway
}

fn posted(gateway: &Running) -> u16 {
    let request = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx";
    ask(gateway.addr, request).status()
}

/// What is known of the one host's latency, in seconds.
fn latency(gateway: &Running) -> f64 {
    of_host(gateway, "seawall_host_latency_seconds{")
}

fn inflight(gateway: &Running) -> f64 {
    of_host(gateway, "seawall_host_inflight{")
}

fn of_host(gateway: &Running, name: &str) -> f64 {
    let metrics = get(gateway.admin, "/metrics").text();
    let line = metrics.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.rsplit(' ').next());
    value.unwrap_or_default().parse().unwrap()
}

#[test]
fn who_leaves_says_how_long_the_host_has_taken() {
    let origin = Origin::serving(|request, stream| {
        if request.start.contains("/hang") {
            // Until the gateway hangs up.
            let _ = stream.read(&mut [0]);
            return false;
        }
        if request.start.contains("/events") {
            let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
            stream.write_all(head).unwrap();
            let _ = stream.read(&mut [0]);
            return false;
        }
        write_response(stream, "200 OK", "", b"");
        true
    });
    let gateway = start(&[origin.addr], "");
    let before = Instant::now();
    assert_eq!(get(gateway.addr, "/").status(), 200);
    // However slow this machine is, leaving takes longer.
    let wait = before.elapsed() + Duration::from_millis(200);
    let leave = |path: &str, head: bool| {
        let before = origin.requests();
        let mut client = Client::connect(gateway.addr);
        client.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
        eventually("it has come", || origin.requests() > before);
        if head {
            assert_eq!(client.head().status(), 200);
        }
        std::thread::sleep(wait);
        drop(client);
        eventually("it is left", || inflight(&gateway) == 0.0);
    };
    // An event stream is always left in the end, and was answered long before.
    leave("/events", true);
    assert!(latency(&gateway) < wait.as_secs_f64() * 0.5);
    leave("/hang", false);
    eventually("it is known", || {
        latency(&gateway) > wait.as_secs_f64() * 0.5
    });
}

#[test]
fn calls_are_spread_and_a_dead_host_costs_none() {
    let (one, two, dead) = (named("one"), named("two"), nobody());
    let gateway = start(&[one.addr, dead, two.addr], "");
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..200 {
        let response = get(gateway.addr, "/");
        assert_eq!(response.status(), 200, "{response:?}");
        *answers.entry(response.text()).or_default() += 1;
        // Nothing has run where no connection came about, so this is no repetition.
        assert_eq!(posted(&gateway), 200);
    }
    assert!(answers["one"] > 40 && answers["two"] > 40, "{answers:?}");
    assert!(metric(&gateway, "seawall_retries_total{upstream=\"default\"}") >= 1.0);
    let explained = get(gateway.admin, "/explain?text").text();
    assert!(explained.contains("% failing"), "{explained}");
    assert!(
        explained.contains(&format!("{dead} not reached")),
        "{explained}"
    );
    assert_all_free(&gateway);
}

#[test]
fn a_host_that_fails_fast_gets_next_to_nothing() {
    let (good, bad) = (named("good"), failing("500 Internal Server Error", ""));
    let gateway = start(&[good.addr, bad.addr], "");
    let failed = (0..400)
        .filter(|_| get(gateway.addr, "/").status() == 500)
        .count();
    assert!(failed <= 40, "{failed} of 400");
}

#[test]
fn a_probe_that_fails_is_answered_elsewhere() {
    let (good, bad) = (named("good"), failing("500 Internal Server Error", ""));
    let lines = "ejection.consecutive_failures = 1\n";
    let gateway = start(&[good.addr, bad.addr], lines);
    eventually("it is ejected", || {
        get(gateway.addr, "/");
        let explained = get(gateway.admin, "/explain?text");
        explained.text().contains("ejected")
    });
    let before = bad.requests();
    eventually("it is probed, and nobody hears of it", || {
        assert_eq!(get(gateway.addr, "/").status(), 200);
        bad.requests() > before
    });
}

#[test]
fn a_probe_that_hangs_is_answered_elsewhere_long_before_its_time_is_up() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let bad = Origin::serving(move |_, stream| {
        if counted.fetch_add(1, SeqCst) == 0 {
            write_response(stream, "500 Internal Server Error", "", b"");
            return true;
        }
        // Until it is given up.
        let _ = stream.read(&mut [0]);
        false
    });
    let good = named("good");
    let lines = "response_timeout = \"60s\"\nejection.consecutive_failures = 1\n\
                 retry.ratio = 0.0\n";
    let gateway = start(&[good.addr, bad.addr], lines);
    eventually("it is ejected, and then probed again and again", || {
        let ejected = asked.load(SeqCst) > 0;
        let status = get(gateway.addr, "/").status();
        assert!(!ejected || status == 200, "{status}");
        asked.load(SeqCst) > 3
    });
    assert_all_free(&gateway);
}

#[test]
fn what_may_run_twice_is_sent_again_elsewhere() {
    let good = named("good");
    let bad = failing("503 Service Unavailable", "");
    let gateway = start(&[good.addr, bad.addr], "retry.ratio = 1.0\n");
    for _ in 0..50 {
        assert_eq!(get(gateway.addr, "/").text(), "good");
    }
    let before = bad.requests();
    let refused = (0..100).filter(|_| posted(&gateway) == 503).count();
    assert_eq!(bad.requests() - before, refused, "a POST is sent once");
    assert_all_free(&gateway);
}

#[test]
fn a_replayed_body_is_whole_and_numbered() {
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    let origin = Origin::serving(move |request, stream| {
        if counted.fetch_add(1, SeqCst) == 0 {
            write_response(stream, "503 Service Unavailable", "", b"");
            return true;
        }
        let attempt = request.get("seawall-attempt").unwrap_or("none");
        let body = format!("{attempt} {}", request.text());
        write_response(stream, "200 OK", "", body.as_bytes());
        true
    });
    let gateway = Setup::to(origin.addr).start();
    let request =
        "PUT / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";
    assert_eq!(ask(gateway.addr, request).text(), "1 hello");
    assert_eq!(tries.load(SeqCst), 2);
}

#[test]
fn a_body_too_large_to_keep_is_sent_once() {
    let origin = failing("503 Service Unavailable", "");
    let gateway = Setup::to(origin.addr).start();
    let mut client = Client::connect(gateway.addr);
    let length = 200 * 1024;
    client.send(format!(
        "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n"
    ));
    client.send(vec![b'x'; length]);
    let response = client.response().unwrap();
    assert_eq!((response.status(), origin.requests()), (503, 1));
}

#[test]
fn retries_stay_within_their_budget_and_are_marked() {
    let origin = failing("503 Service Unavailable", "");
    let gateway = Setup::to(origin.addr)
        .upstream("breaker.kind = 'off'\nretry.ratio = 0.1\n")
        .start();
    let mut marked = 0;
    for _ in 0..300 {
        let response = get(gateway.addr, "/");
        assert_eq!(response.status(), 503);
        marked += usize::from(response.get("seawall-retried").is_some());
    }
    // A tenth, and what the floor of one a second has saved in ten.
    let sent = origin.requests();
    assert!((301..=300 + 30 + 15).contains(&sent), "{sent} sent for 300");
    assert!(marked > 200, "{marked} of 300 marked");
}

#[test]
fn only_the_layer_above_a_rejection_retries() {
    let origin = failing("503 Service Unavailable", "seawall-retried: 1\r\n");
    let gateway = Setup::to(origin.addr).start();
    let response = get(gateway.addr, "/");
    assert_eq!(origin.requests(), 1, "a layer below has retried");
    assert!(
        response.get("seawall-retried").is_some(),
        "and so it says on"
    );
}

#[test]
fn three_tiers_that_all_retry_are_no_storm() {
    let origin = failing("503 Service Unavailable", "");
    let off = "breaker.kind = 'off'\n";
    let low = Setup::to(origin.addr).upstream(off).start();
    let middle = Setup::to(low.addr).upstream(off).start();
    let top = Setup::to(middle.addr).upstream(off).start();
    for _ in 0..200 {
        assert_eq!(get(top.addr, "/").status(), 503);
    }
    let sent = origin.requests();
    // One budget of a tenth and one floor; without the mark there were three of each.
    assert!(sent <= 200 + 20 + 15, "{sent} sent for 200");
}

#[test]
fn odd_pushback_is_answered_at_once() {
    for (header, tries) in [
        ("retry-after: -1\r\n", 1),
        ("retry-after: 31536000\r\n", 1),
        // Who waits holds a place.
        ("retry-after: 30\r\n", 1),
        (
            "seawall-reject: reason=queue-full; scope=host; after_ms=30000\r\n",
            1,
        ),
        (
            "seawall-reject: reason=quota; scope=tenant; retry=no\r\n",
            1,
        ),
        ("retry-after: soon\r\n", 3),
        ("retry-after: Wed, 21 Oct 2015 07:28:00 GMT\r\n", 3),
    ] {
        let origin = failing("503 Service Unavailable", header);
        let gateway = Setup::to(origin.addr)
            .upstream("breaker.kind = 'off'\n")
            .start();
        assert_eq!(get(gateway.addr, "/").status(), 503);
        assert_eq!(origin.requests(), tries, "{header}");
    }
}

#[test]
fn what_ends_early_after_its_head_is_not_sent_again() {
    let origin = Origin::serving(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf");
        false
    });
    let gateway = Setup::to(origin.addr).start();
    let response = get(gateway.addr, "/");
    assert_eq!((response.status(), response.complete), (200, false));
    assert_eq!(origin.requests(), 1);
    assert_eq!(
        metric(&gateway, "seawall_faults_total{fault=\"origin-broke\"}"),
        1.0
    );
}

#[test]
fn a_breaker_opens_says_so_and_closes() {
    let addr = nobody();
    let gateway = Setup::to(addr).start();
    let answers: Vec<_> = (0..200).map(|_| get(gateway.addr, "/")).collect();
    let broken = answers.iter().filter(|response| {
        response
            .get("seawall-reject")
            .is_some_and(|text| text.contains("reason=breaker"))
    });
    let broken = broken.count();
    assert!(broken > 100, "{broken} of 200");
    assert!(
        get(gateway.admin, "/explain?text")
            .text()
            .contains("breaker open")
    );
    let listener = std::net::TcpListener::bind(addr).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
                while crate::support::Message::request(&mut reader).is_some() {
                    write_response(&mut stream, "200 OK", "", b"back");
                }
            });
        }
    });
    eventually("it answers again", || {
        get(gateway.addr, "/").status() == 200
    });
    eventually("the breaker is closed", || {
        let _ = get(gateway.addr, "/");
        metric(&gateway, "seawall_breaker_open{upstream=\"default\"}") == 0.0
    });
}

#[test]
fn a_breaker_in_shadow_counts_and_turns_nobody_away() {
    let gateway = Setup::to(nobody())
        .upstream("breaker.kind = 'window'\nbreaker.shadow = true\nretry.attempts = 1\n")
        .start();
    for _ in 0..60 {
        assert_eq!(get(gateway.addr, "/").status(), 502);
    }
    let count = |metric_of: &str| metric(&gateway, metric_of);
    let shadowed = count("seawall_shadow_rejections_total{reason=\"breaker\"}");
    assert!((30.0..60.0).contains(&shadowed), "{shadowed}");
    let rejected = count("seawall_rejections_total{reason=\"breaker\",criticality=\"critical\"}");
    assert_eq!(rejected, 0.0);
}

#[test]
fn a_gateway_behind_that_turns_away_who_is_late_opens_no_breaker() {
    for (headers, status) in [
        (
            "seawall-reject: reason=deadline; scope=host; retry=no\r\n",
            504,
        ),
        ("", 503),
    ] {
        let origin = failing("504 Gateway Timeout", headers);
        let gateway = Setup::to(origin.addr)
            .upstream("breaker.kind = 'window'\nretry.attempts = 1\n")
            .start();
        let answers: Vec<_> = (0..40).map(|_| get(gateway.addr, "/").status()).collect();
        assert_eq!(answers.last(), Some(&status), "{headers}");
    }
}

#[test]
fn a_fallback_stands_in() {
    let lines = "fallback.body = '[]'\nfallback.status = 203\n";
    let gateway = Setup::to(nobody()).upstream(lines).start();
    for _ in 0..50 {
        let response = get(gateway.addr, "/");
        assert_eq!((response.status(), response.text().as_str()), (203, "[]"));
        assert_eq!(response.get("seawall-fallback"), Some("static"));
    }
    assert_eq!(
        metric(&gateway, "seawall_fallbacks_total{upstream=\"default\"}"),
        50.0
    );
    // The switch for a bad day: the upstream is left alone.
    let origin = named("asked");
    let gateway = Setup::to(origin.addr).upstream(lines).start();
    assert_eq!(get(gateway.addr, "/").text(), "asked");
    let mut config = seawall::config::Config::clone(&gateway.config());
    config.upstreams.get_mut("default").unwrap().fallback.always = true;
    gateway.reload(&config).unwrap();
    assert_eq!(get(gateway.addr, "/").text(), "[]");
    assert_eq!(origin.requests(), 1);
    let explained = get(gateway.admin, "/explain?text").text();
    assert!(explained.contains("fallback.always is on"), "{explained}");
}

#[test]
fn reads_go_to_replicas_but_for_who_has_just_written() {
    let (primary, replica) = (named("primary"), named("replica"));
    let lines = format!(
        "replicas.endpoints = [\"{}\"]\nreplicas.read_your_writes = '1h'\n",
        replica.addr
    );
    let gateway = Setup::to(primary.addr).upstream(&lines).start();
    let as_user = |method: &str, user: &str| {
        let request = format!(
            "{method} / HTTP/1.1\r\nhost: a\r\nauthorization: {user}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        );
        ask(gateway.addr, &request).text()
    };
    eventually("the replica is known", || {
        as_user("GET", "reader") == "replica"
    });
    assert_eq!(as_user("POST", "writer"), "primary");
    assert_eq!(as_user("GET", "writer"), "primary");
    assert_eq!(as_user("GET", "reader"), "replica");
}

#[test]
fn the_reserve_takes_over_and_gives_back() {
    let up = Arc::new(AtomicBool::new(false));
    let is_up = up.clone();
    let main = Origin::serving(move |_, stream| {
        let status = if is_up.load(SeqCst) {
            "200 OK"
        } else {
            "502 Bad Gateway"
        };
        write_response(stream, status, "", b"main");
        true
    });
    let reserve = named("reserve");
    let lines = format!(
        "gutter.endpoints = [\"{}\"]\nretry.attempts = 1\n",
        reserve.addr
    );
    let gateway = Setup::to(main.addr).upstream(&lines).start();
    eventually("the reserve takes over", || {
        get(gateway.addr, "/").text() == "reserve"
    });
    let answers: Vec<_> = (0..50).map(|_| get(gateway.addr, "/").text()).collect();
    let taken = answers.iter().filter(|text| *text == "reserve").count();
    assert!(taken >= 45, "{taken} of 50");
    up.store(true, SeqCst);
    eventually("it is given back", || {
        (0..20).all(|_| get(gateway.addr, "/").text() == "main")
    });
    assert_all_free(&gateway);
}

#[test]
fn a_hash_keeps_a_user_at_a_host_and_who_has_none_is_served() {
    let origins = ["a", "b", "c", "d"].map(named);
    let addresses: Vec<_> = origins.iter().map(|origin| origin.addr).collect();
    let lines = "balance.algorithm = 'consistent-hash'\nbalance.hash_on = 'header:x-user'\n";
    let gateway = start(&addresses, lines);
    let of = |user: &str| {
        let request =
            format!("GET / HTTP/1.1\r\nhost: a\r\nx-user: {user}\r\nconnection: close\r\n\r\n");
        ask(gateway.addr, &request).text()
    };
    let mut hosts = std::collections::BTreeSet::new();
    for user in 0..40 {
        let user = user.to_string();
        let host = of(&user);
        assert!((0..5).all(|_| of(&user) == host), "user {user}");
        hosts.insert(host);
    }
    assert!(hosts.len() >= 3, "{hosts:?}");
    assert_eq!(
        get(gateway.addr, "/").status(),
        200,
        "a key that is missing"
    );
}

#[test]
fn an_unhealthy_host_is_left_alone() {
    let sick = Origin::serving(|request, stream| {
        let status = if request.start.contains("/health") {
            "500 Sick"
        } else {
            "200 OK"
        };
        write_response(stream, status, "", b"sick");
        true
    });
    // A server of several names knows the service by that of the URL.
    let host = sick.addr.to_string();
    let well = Origin::serving(move |request, stream| {
        let known = !request.start.contains("/health") || request.get("host") == Some(&host);
        let status = if known { "200 OK" } else { "404 Not Found" };
        write_response(stream, status, "", b"well");
        true
    });
    let lines = "health.path = '/health'\nhealth.interval = '100ms'\nhealth.unhealthy_after = 1\n";
    let gateway = start(&[sick.addr, well.addr], lines);
    eventually("the sick one is out", || {
        get(gateway.admin, "/explain?text")
            .text()
            .contains("unhealthy")
    });
    assert!((0..50).all(|_| get(gateway.addr, "/").text() == "well"));
}

#[test]
fn strangers_in_a_hurry_do_not_get_a_host_ejected() {
    let (slow, other) = (Origin::raw(|_stream| std::thread::park()), named("other"));
    let gateway = start(&[slow.addr, other.addr], "retry.attempts = 1\n");
    let hurried = "GET / HTTP/1.1\r\nhost: a\r\nseawall-timeout-ms: 5\r\nconnection: close\r\n\r\n";
    for _ in 0..60 {
        let _ = ask(gateway.addr, hurried);
    }
    let metrics = get(gateway.admin, "/metrics").text();
    let ejections = metrics
        .lines()
        .filter(|l| l.starts_with("seawall_host_ejections_total"));
    assert!(
        ejections.clone().count() == 2 && ejections.clone().all(|l| l.ends_with(" 0")),
        "{metrics}"
    );
}

#[test]
fn hosts_are_chosen_by_what_they_say_of_themselves() {
    let saying = |name: &'static str, load: &'static str| {
        Origin::serving(move |request, stream| {
            let probe = request.start.contains("/.well-known/seawall-load");
            let (status, body) = if probe {
                ("204 None", "")
            } else {
                ("200 OK", name)
            };
            let load = format!("seawall-load: {load}\r\n");
            write_response(stream, status, &load, body.as_bytes());
            true
        })
    };
    let busy = saying("busy", "in_flight=900; latency_us=900000");
    let idle = saying("idle", "in_flight=1; latency_us=900");
    let addresses = [
        busy.addr,
        idle.addr,
        saying("idle", "in_flight=1; latency_us=900").addr,
    ];
    let gateway = start(&addresses, "balance.algorithm = 'prequal'\n");
    let answers: Vec<_> = (0..300).map(|_| get(gateway.addr, "/").text()).collect();
    let busy = answers.iter().filter(|text| *text == "busy").count();
    assert!(busy < 60, "{busy} of 300 went to the busy one");
}
