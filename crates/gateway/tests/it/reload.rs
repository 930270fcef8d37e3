//! Another configuration while the gateway serves.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};

use seawall::config::{Config, Listener, Route, Upstream};
use seawall_gateway::{ReloadError, Running};

use crate::support::{
    Client, Origin, Setup, ask, assert_all_free, eventually, get, metric, write_response,
};

/// Takes over what `change` makes of the configuration in force.
fn reload(gateway: &Running, change: impl FnOnce(&mut Config)) -> Result<(), ReloadError> {
    let mut config = Config::clone(&gateway.config());
    change(&mut config);
    gateway.reload(&config)
}

fn says(word: &'static str) -> Origin {
    Origin::serving(move |_, stream| {
        write_response(stream, "200 OK", "", word.as_bytes());
        true
    })
}

fn to(origin: &Origin) -> Upstream {
    Upstream::to(format!("http://{}", origin.addr).parse().unwrap())
}

const ASK: &str = "GET /a HTTP/1.1\r\nhost: a\r\n\r\n";

#[test]
fn a_route_moves_under_an_open_connection() {
    let (one, two) = (says("one"), says("two"));
    let gateway = Setup::to(one.addr).start();
    let mut client = Client::connect(gateway.addr);
    assert_eq!(client.send(ASK).response().unwrap().text(), "one");
    reload(&gateway, |config| {
        config.upstreams.insert("other".into(), to(&two));
        config.routes.push(Route {
            path: Some("/a".into()),
            upstream: Some("other".into()),
            ..Route::default()
        });
    })
    .unwrap();
    assert_eq!(client.send(ASK).response().unwrap().text(), "two");
    // On this core: each has connections of its own.
    let other = "GET /b HTTP/1.1\r\nhost: a\r\n\r\n";
    assert_eq!(client.send(other).response().unwrap().text(), "one");
    assert_eq!(
        one.connections(),
        1,
        "what is unchanged keeps its connections"
    );
}

#[test]
fn what_was_learned_and_counted_stays() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::serving(move |_, stream| {
        wait.lock().unwrap().recv().unwrap();
        write_response(stream, "200 OK", "", b"done");
        true
    });
    let gateway = Setup::to(origin.addr)
        .rest("[admission]\nalgorithm = 'fixed'\ninitial_limit = 1\nmax_wait = '60s'\n")
        .start();
    let ask = || {
        let mut client = Client::connect(gateway.addr);
        client.send(ASK);
        client
    };
    let mut first = ask();
    eventually("the place is taken", || origin.requests() == 1);
    let mut second = ask();
    let queued = "seawall_queued{upstream=\"default\"}";
    eventually("the second waits", || metric(&gateway, queued) == 1.0);
    reload(&gateway, |config| config.admission.initial_limit = Some(2)).unwrap();
    eventually("the second goes", || origin.requests() == 2);
    go.send(()).unwrap();
    go.send(()).unwrap();
    assert_eq!(first.response().unwrap().status(), 200);
    assert_eq!(second.response().unwrap().status(), 200);
    let limit = metric(&gateway, "seawall_limit{upstream=\"default\"}");
    assert_eq!(limit, 2.0);
    assert_eq!(
        metric(&gateway, "seawall_config_reloads_total{result=\"taken\"}"),
        1.0
    );
    assert_all_free(&gateway);
}

#[test]
fn requests_under_way_end_as_they_began_when_their_upstream_moves() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let old = Origin::serving(move |_, stream| {
        wait.lock().unwrap().recv().unwrap();
        write_response(stream, "200 OK", "", b"old");
        true
    });
    let new = says("new");
    let gateway = Setup::to(old.addr).start();
    let mut under_way = Client::connect(gateway.addr);
    under_way.send(ASK);
    eventually("it is under way", || old.requests() == 1);
    reload(&gateway, |config| {
        config.upstreams.insert("default".into(), to(&new));
    })
    .unwrap();
    assert_eq!(get(gateway.addr, "/a").text(), "new");
    go.send(()).unwrap();
    assert_eq!(under_way.response().unwrap().text(), "old");
    assert_eq!(under_way.send(ASK).response().unwrap().text(), "new");
    let open = "seawall_upstream_connections{upstream=\"default\",state=\"open\"}";
    assert!(metric(&gateway, open) >= 1.0);
    assert_all_free(&gateway);
}

#[test]
fn what_does_not_hold_is_refused_whole() {
    let (one, two) = (says("one"), says("two"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = Setup::to(one.addr).start();
    let bind = reload(&gateway, |config| {
        config.upstreams.insert("default".into(), to(&two));
        let address = taken.local_addr().unwrap();
        config
            .listeners
            .insert("more".into(), Listener::at(address));
    });
    assert!(matches!(bind, Err(ReloadError::Start(_))), "{bind:?}");
    let admin = reload(&gateway, |config| {
        config.upstreams.insert("default".into(), to(&two));
        config.admin.address = taken.local_addr().unwrap();
    });
    assert!(
        matches!(admin, Err(ReloadError::Restart("admin.address"))),
        "{admin:?}"
    );
    let nowhere = reload(&gateway, |config| config.upstreams.clear());
    assert!(nowhere.unwrap_err().to_string().contains("no upstream"));
    assert_eq!(get(gateway.addr, "/a").text(), "one");
    let refused = "seawall_config_reloads_total{result=\"refused\"}";
    assert_eq!(metric(&gateway, refused), 3.0);
}

#[test]
fn a_changed_admin_token_is_asked_for_at_once() {
    let origin = says("here");
    let gateway = Setup::to(origin.addr).start();
    let status = |token: Option<&str>| {
        let token = token.map(|token| format!("authorization: Bearer {token}\r\n"));
        let request = format!(
            "GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{}\r\n",
            token.unwrap_or_default()
        );
        ask(gateway.admin, &request).status()
    };
    let change = |token: Option<&str>| {
        reload(&gateway, |config| {
            config.admin.token = token.map(str::to_owned)
        })
        .unwrap();
    };
    assert_eq!(status(None), 200);
    change(Some("the-first-of-them"));
    assert_eq!(status(None), 401);
    assert_eq!(status(Some("the-first-of-them")), 200);
    change(Some("the-other-of-them"));
    assert_eq!(status(Some("the-first-of-them")), 401);
    assert_eq!(status(Some("the-other-of-them")), 200);
    change(None);
    assert_eq!(status(None), 200);
}

#[test]
fn it_is_explained_since_when_a_configuration_is_in_force() {
    let origin = says("here");
    let gateway = Setup::to(origin.addr).start();
    let ages = || {
        let explained = get(gateway.admin, "/explain").text();
        let explained: serde_json::Value = serde_json::from_str(&explained).unwrap();
        let of = |name: &str| explained[name].as_f64().unwrap();
        (of("config_age_seconds"), of("uptime_seconds"))
    };
    let (age, up) = ages();
    assert!(age + 0.001 >= up, "as old as the gateway: {age} of {up}");
    eventually("some time passes", || ages().1 > 0.05);
    reload(&gateway, |config| config.admission.max_queued = 5).unwrap();
    let (age, up) = ages();
    assert!(age + 0.04 < up, "{age} of {up}");
}

#[test]
fn listeners_come_go_and_change() {
    let origin = says("here");
    let gateway = Setup::to(origin.addr).start();
    let mut open = Client::connect(gateway.addr);
    assert_eq!(open.send(ASK).response().unwrap().text(), "here");
    let port = seawall_testkit::free_port().unwrap();
    let more = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    reload(&gateway, |config| {
        config.listeners.clear();
        let mut listener = Listener::at(more);
        listener.max_headers = 8;
        config.listeners.insert("more".into(), listener);
    })
    .unwrap();
    eventually("the new one accepts", || {
        std::net::TcpStream::connect(more).is_ok()
    });
    assert_eq!(get(more, "/a").text(), "here");
    eventually("the old one does not", || {
        std::net::TcpStream::connect(gateway.addr).is_err()
    });
    assert_eq!(open.send(ASK).response().unwrap().text(), "here");
    let nine = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(8));
    let mut client = Client::connect(more);
    assert_eq!(client.send(&nine).response().unwrap().status(), 431);
    reload(&gateway, |config| {
        config.listeners.get_mut("more").unwrap().max_headers = 100;
    })
    .unwrap();
    let mut client = Client::connect(more);
    assert_eq!(client.send(&nine).response().unwrap().status(), 200);
}

#[test]
fn listeners_may_change_their_names() {
    let origin = says("here");
    let gateway = Setup::to(origin.addr).start();
    let mut open = Client::connect(gateway.addr);
    assert_eq!(open.send(ASK).response().unwrap().text(), "here");
    reload(&gateway, |config| {
        let listener = config.listeners.remove("default").unwrap();
        config.listeners.insert("public".into(), listener);
    })
    .unwrap();
    assert_eq!(get(gateway.addr, "/a").text(), "here");
    assert_eq!(open.send(ASK).response().unwrap().text(), "here");
    assert!(metric(&gateway, "seawall_connections{listener=\"public\"}") >= 1.0);
}

#[test]
fn nothing_fails_while_it_is_reloaded_again_and_again() {
    let (one, two) = (says("one"), says("two"));
    let gateway = Setup::to(one.addr).start();
    let (end, served) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (end, served, addr) = (end.clone(), served.clone(), gateway.addr);
            std::thread::spawn(move || {
                let mut client = Client::connect(addr);
                while !end.load(SeqCst) {
                    let response = client.send(ASK).response().expect("a response");
                    assert_eq!(response.status(), 200, "{response:?}");
                    served.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    for round in 0..50 {
        let before = served.load(SeqCst);
        let origin = if round % 2 == 0 { &two } else { &one };
        reload(&gateway, |config| {
            config.upstreams.insert("default".into(), to(origin));
            config.admission.max_queued = 1_000 + round;
        })
        .unwrap();
        eventually("some are served by it", || {
            served.load(SeqCst) >= before + 8
        });
    }
    end.store(true, SeqCst);
    for client in clients {
        client.join().unwrap();
    }
    assert!(one.requests() > 0 && two.requests() > 0);
    assert_all_free(&gateway);
}

#[test]
fn hosts_of_before_do_not_come_back_while_a_stream_holds_the_old_plan() {
    let (one, two) = (says("one"), says("two"));
    let events = Origin::serving(|_, stream| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: x\n\n";
        let _ = stream.write_all(head.as_bytes());
        std::thread::park();
        false
    });
    let dir = tempfile::tempdir().unwrap();
    let [before, after] = ["before", "after"].map(|name| dir.path().join(name));
    std::fs::write(&before, format!("{}\n", events.addr)).unwrap();
    std::fs::write(&after, format!("{}\n", two.addr)).unwrap();
    let endpoints = |file: &std::path::Path| vec![format!("file://{}", file.display())];
    let gateway = Setup::to(one.addr)
        .upstream(&format!("endpoints = {:?}\n", endpoints(&before)))
        .start();
    let known = |origin: &Origin| {
        let metrics = get(gateway.admin, "/metrics").text();
        metrics.contains(&format!("host=\"{}\"", origin.addr))
    };
    eventually("its host is known", || known(&events));
    let mut stream = Client::connect(gateway.addr);
    assert_eq!(stream.send(ASK).head().status(), 200);
    reload(&gateway, |config| {
        config.upstreams.get_mut("default").unwrap().endpoints = endpoints(&after);
    })
    .unwrap();
    eventually("the new host is known", || known(&two));
    std::fs::write(&before, format!("{}\n", one.addr)).unwrap();
    // Twice as long as from one look at a file to the next.
    let looks = std::time::Instant::now() + std::time::Duration::from_secs(2);
    while std::time::Instant::now() < looks {
        assert_eq!(get(gateway.addr, "/a").text(), "two");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn hosts_that_a_reload_brings_are_there_with_it() {
    let (one, two) = (says("one"), says("two"));
    let gateway = Setup::to(one.addr).start();
    for _ in 0..20 {
        reload(&gateway, |config| {
            let upstream = config.upstreams.get_mut("default").unwrap();
            upstream.endpoints = vec![two.addr.to_string()];
        })
        .unwrap();
        assert_eq!(get(gateway.addr, "/a").text(), "two");
        reload(&gateway, |config| {
            config
                .upstreams
                .get_mut("default")
                .unwrap()
                .endpoints
                .clear();
        })
        .unwrap();
        assert_eq!(get(gateway.addr, "/a").text(), "one");
    }
}
