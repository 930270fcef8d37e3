//! More than the origin can do.

use std::sync::{Arc, Mutex, mpsc};

use seawall::context::{UnderWay, UnderWayKeys};
use seawall_policy::Criticality;

use crate::support::{
    Client, Message, Origin, Setup, assert_all_free, eventually, get, metric, write_response,
};

/// An origin that answers when told.
fn held() -> (Origin, mpsc::Sender<()>) {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::serving(move |_, stream| {
        if wait.lock().unwrap().recv().is_err() {
            return false;
        }
        write_response(stream, "200 OK", "", b"done");
        true
    });
    (origin, go)
}

const ONE: &str =
    "[admission]\nalgorithm = 'fixed'\ninitial_limit = 1\nmax_wait = '50ms'\nmax_queued = 2\n";

fn start(addr: std::net::SocketAddr, headers: &str) -> Client {
    let mut client = Client::connect(addr);
    client.send(format!("GET /a HTTP/1.1\r\nhost: a\r\n{headers}\r\n"));
    client
}

#[test]
fn the_excess_is_turned_away_with_reasons() {
    let (origin, go) = held();
    let named = ONE.to_owned() + "[[routes]]\nname = 'reports'\npath_prefix = '/a'\n";
    let gateway = Setup::to(origin.addr).rest(&named).start();
    let mut first = start(gateway.addr, "");
    eventually("the place is taken", || origin.requests() == 1);
    let mut others: Vec<_> = (0..10).map(|_| start(gateway.addr, "")).collect();
    let turned: Vec<Message> = others
        .iter_mut()
        .map(|client| client.response().unwrap())
        .collect();
    for response in &turned {
        assert_eq!(response.status(), 503, "{response:?}");
        assert!(
            response
                .get("seawall-reject")
                .unwrap()
                .contains("scope=host"),
            "{response:?}"
        );
        assert!(
            response.get("retry-after").is_some()
                || !response.get("seawall-reject").unwrap().contains("after_ms")
        );
    }
    let reasons: Vec<_> = turned
        .iter()
        .map(|response| response.get("seawall-reject").unwrap())
        .collect();
    assert!(
        reasons.iter().any(|reason| reason.contains("queue")),
        "{reasons:?}"
    );
    go.send(()).unwrap();
    assert_eq!(first.response().unwrap().text(), "done");
    assert_eq!(
        origin.requests(),
        1,
        "who was turned away cost the origin nothing"
    );
    // The connection of one who was turned away is as good as before.
    others[0].send("GET /a HTTP/1.1\r\nhost: a\r\n\r\n");
    go.send(()).unwrap();
    assert_eq!(others[0].response().unwrap().text(), "done");
    let explained = get(gateway.admin, "/explain").text();
    let explained: serde_json::Value = serde_json::from_str(&explained).unwrap();
    let kinds = explained["rejections"].as_array().unwrap();
    let counts = kinds.iter().map(|kind| kind["count"].as_u64().unwrap());
    assert_eq!(counts.sum::<u64>(), 10);
    assert!(kinds.len() < 10, "those alike are one: {explained}");
    assert_eq!(explained["upstreams"][0]["limit"], 1);
    assert_eq!(explained["rejections"][0]["route"], "reports");
    let text = get(gateway.admin, "/explain?text").text();
    assert!(
        text.contains("limit 1 by fixed") && text.contains("queue"),
        "{text}"
    );
    assert_all_free(&gateway);
}

#[test]
fn grpc_is_told_in_its_own_words() {
    let (origin, go) = held();
    let gateway = Setup::to(origin.addr)
        .upstream("protocol = 'h1'\n")
        .rest(ONE)
        .start();
    let _first = start(gateway.addr, "");
    eventually("the place is taken", || origin.requests() == 1);
    let mut second = start(gateway.addr, "content-type: application/grpc\r\n");
    let response = second.response().unwrap();
    assert_eq!(
        (response.status(), response.get("grpc-status")),
        (200, Some("14"))
    );
    drop(go);
}

#[test]
fn a_waiter_that_leaves_gives_up_its_turn() {
    let (origin, go) = held();
    let gateway = Setup::to(origin.addr)
        .rest("[admission]\nalgorithm = 'fixed'\ninitial_limit = 1\nmax_wait = '10s'\n")
        .start();
    let mut first = start(gateway.addr, "");
    eventually("the place is taken", || origin.requests() == 1);
    let leaves = start(gateway.addr, "");
    eventually("it waits", || {
        metric(&gateway, "seawall_queued{upstream=\"default\"}") == 1.0
    });
    drop(leaves);
    eventually("it has left", || {
        metric(&gateway, "seawall_faults_total{fault=\"client-gone\"}") == 1.0
    });
    let mut stays = start(gateway.addr, "");
    go.send(()).unwrap();
    go.send(()).unwrap();
    assert_eq!(first.response().unwrap().text(), "done");
    assert_eq!(stays.response().unwrap().text(), "done");
    assert_eq!(origin.requests(), 2);
    assert_all_free(&gateway);
}

#[test]
fn in_shadow_everyone_passes_and_is_counted() {
    let (origin, go) = held();
    let route = "\n[[routes]]\npath_prefix = '/a'\nshadow = true\n";
    for (rest, label) in [
        (ONE.to_owned() + "shadow = true\n", "gate"),
        (ONE.to_owned() + route, "route"),
    ] {
        let gateway = Setup::to(origin.addr).rest(&rest).start();
        let before = origin.requests();
        let mut clients: Vec<_> = (0..6).map(|_| start(gateway.addr, "")).collect();
        eventually("all are at the origin", || origin.requests() == before + 6);
        (0..6).for_each(|_| go.send(()).unwrap());
        for client in &mut clients {
            assert_eq!(client.response().unwrap().text(), "done", "{label}");
        }
        assert_all_free(&gateway);
    }
}

#[test]
fn the_pools_cap_is_hard() {
    let open = Arc::new(Mutex::new((0, 0)));
    let count = open.clone();
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::raw(move |stream| {
        {
            let mut open = count.lock().unwrap();
            open.0 += 1;
            open.1 = open.1.max(open.0);
        }
        let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        while Message::request(&mut reader).is_some() {
            wait.lock().unwrap().recv().unwrap();
            write_response(&mut stream, "200 OK", "", b"done");
        }
        count.lock().unwrap().0 -= 1;
    });
    let gateway = Setup::to(origin.addr)
        .upstream("max_connections = 2\nconnect_timeout = '10s'\n")
        .rest("[admission]\nalgorithm = 'fixed'\ninitial_limit = 100\n")
        .start();
    let mut clients: Vec<_> = (0..24).map(|_| start(gateway.addr, "")).collect();
    eventually("all but two wait", || {
        let waiting = "seawall_upstream_connections{upstream=\"default\",state=\"waiting\"}";
        metric(&gateway, waiting) == 22.0
    });
    for _ in &clients {
        go.send(()).unwrap();
    }
    for client in &mut clients {
        assert_eq!(client.response().unwrap().text(), "done");
    }
    assert!(open.lock().unwrap().1 <= 2, "{open:?}");
    assert_all_free(&gateway);
}

#[test]
fn a_signed_mark_passes_where_a_forged_one_is_shed() {
    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    let mark = UnderWay {
        expires: u64::MAX,
        criticality: Criticality::Critical,
        tenant: 7,
        task: 1,
    };
    let sign = |secret: &str| {
        let keys = UnderWayKeys::new([("k1", secret.as_bytes())]).unwrap();
        let value = keys.unwrap().sign(&mark);
        format!("seawall-under-way: {}\r\n", value.to_str().unwrap())
    };
    let (signed, forged) = (sign(SECRET), sign("another-secret-of-32-bytes-or-so"));
    for (trust, bad) in [("internal", 1.0), ("edge", 0.0)] {
        let (origin, go) = held();
        let gateway = Setup::to(origin.addr)
            .listener(&format!("trust = '{trust}'\n"))
            .rest(&format!(
                "[admission]\nalgorithm = 'fixed'\ninitial_limit = 1\nmax_wait = '20s'\nmax_queued = 1\n\
                 [[under_way.keys]]\nid = 'k1'\nsecret = '{SECRET}'\n"
            ))
            .start();
        let mut first = start(gateway.addr, "");
        eventually("the place is taken", || origin.requests() == 1);
        let mut waits = start(gateway.addr, "");
        eventually("the queue is full", || {
            metric(&gateway, "seawall_queued{upstream=\"default\"}") == 1.0
        });
        // The newest of equals takes the turn of the oldest; what is under way gives way to none.
        let mut marked = start(gateway.addr, &signed);
        assert_eq!(waits.response().unwrap().status(), 503);
        let mut pretends = start(gateway.addr, &forged);
        let (shed, served) = if trust == "internal" {
            (&mut pretends, &mut marked)
        } else {
            (&mut marked, &mut pretends)
        };
        assert_eq!(shed.response().unwrap().status(), 503, "{trust}");
        go.send(()).unwrap();
        assert_eq!(first.response().unwrap().text(), "done");
        go.send(()).unwrap();
        assert_eq!(served.response().unwrap().text(), "done", "{trust}");
        let fault = "seawall_faults_total{fault=\"bad-mark\"}";
        assert_eq!(metric(&gateway, fault), bad);
        assert_all_free(&gateway);
    }
}
