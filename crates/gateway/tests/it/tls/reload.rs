//! Another configuration while TLS is spoken.

use std::sync::atomic::Ordering;

use seawall::config::{CertificateFiles, Config, ListenerTls, UpstreamTls};
use seawall_gateway::{ReloadError, Running, StartError};

use super::{Authority, Http, TlsOrigin, connect, shown};
use crate::support::{Origin, Setup, get};

const BOTH: &[&str] = &["h2", "http/1.1"];

fn reload(gateway: &Running, change: impl FnOnce(&mut Config)) -> Result<(), ReloadError> {
    let mut config = Config::clone(&gateway.config());
    change(&mut config);
    gateway.reload(&config)
}

fn listener(config: &mut Config) -> &mut ListenerTls {
    let listener = config.listeners.get_mut("default").unwrap();
    listener.tls.as_mut().unwrap()
}

#[tokio::test]
async fn a_listener_shows_other_certificates() {
    let authority = Authority::new();
    let [shop, other] = [["shop.test"], ["other.test"]].map(|names| authority.issue(&names));
    authority.store("shop", &shop);
    authority.store("other", &other);
    let files = |name: &str| CertificateFiles {
        cert: authority.path(&format!("{name}.pem")),
        key: authority.path(&format!("{name}.key")),
    };
    let gateway = Setup::to(Origin::echo().addr)
        .listener(&authority.listed("shop"))
        .start();
    let client = authority.client(None, BOTH);
    let mut old = Http::on(connect(gateway.addr, &client, "shop.test").await.unwrap()).await;
    assert_eq!(old.get("/").await.unwrap().0, 200);

    let refused = reload(&gateway, |config| {
        config.drain_timeout = std::time::Duration::from_secs(7);
        listener(config).certificates.push(files("none"));
    });
    let refused = refused.unwrap_err();
    assert!(matches!(
        refused,
        ReloadError::Start(StartError::Certificate(_))
    ));
    assert_eq!(
        gateway.config().drain_timeout.as_secs(),
        30,
        "refused whole"
    );
    assert!(connect(gateway.addr, &client, "other.test").await.is_err());

    reload(&gateway, |config| {
        listener(config).certificates.push(files("other"));
    })
    .unwrap();
    let stream = connect(gateway.addr, &client, "other.test").await.unwrap();
    assert_eq!(shown(&stream), other.chain()[0]);
    assert_eq!(old.get("/").await.unwrap().0, 200);

    // What is not changed is not read again.
    authority.write("shop.key", "junk");
    reload(&gateway, |config| {
        config.listeners.get_mut("default").unwrap().max_headers = 50;
    })
    .unwrap();
    assert!(connect(gateway.addr, &client, "shop.test").await.is_ok());
    assert_eq!(old.get("/").await.unwrap().0, 200);
}

#[test]
fn an_upstream_takes_to_tls_and_back() {
    let authority = Authority::new();
    let (plain, secure) = (Origin::echo(), TlsOrigin::of(&authority, BOTH));
    let gateway = Setup::to(plain.addr)
        .upstream("[upstreams.default.breaker]\nkind = \"off\"\n")
        .start();
    let go = |url: String, tls: UpstreamTls| {
        reload(&gateway, |config| {
            let upstream = config.upstreams.get_mut("default").unwrap();
            upstream.url = url.parse().unwrap();
            upstream.tls = tls;
        })
    };
    assert_eq!(get(gateway.addr, "/").status(), 200);
    let trusting = UpstreamTls {
        ca: Some(authority.path("ca.pem")),
        ..UpstreamTls::default()
    };
    go(secure.url(), trusting.clone()).unwrap();
    assert_eq!(get(gateway.addr, "/").text(), "HTTP/2.0 https\n");

    // No call goes over what was agreed on under another authority.
    let opened = secure.handshakes.load(Ordering::SeqCst);
    let stranger = Authority::new();
    let distrusting = UpstreamTls {
        ca: Some(stranger.path("ca.pem")),
        ..UpstreamTls::default()
    };
    go(secure.url(), distrusting).unwrap();
    assert_eq!(get(gateway.addr, "/").status(), 502);
    assert_eq!(secure.handshakes.load(Ordering::SeqCst), opened);

    go(format!("http://{}", plain.addr), UpstreamTls::default()).unwrap();
    assert!(get(gateway.addr, "/").text().starts_with("GET / HTTP/1.1"));
}

/// Hosts that are named apart from the URL are spoken to over TLS as well; the URL says which name
/// their certificates are for.
#[test]
fn each_of_several_hosts_is_spoken_to_over_tls() {
    let authority = Authority::new();
    let hosts = [(); 2].map(|()| TlsOrigin::of(&authority, BOTH));
    let list = hosts.each_ref().map(|host| format!("\"{}\"", host.addr));
    let gateway = Setup::to_url("https://localhost")
        .upstream(&format!(
            "endpoints = [{}]\n[upstreams.default.balance]\nalgorithm = \"round-robin\"\n[upstreams.default.tls]\nca = \"{}\"\n",
            list.join(", "),
            authority.ca()
        ))
        .start();
    // They are found in a moment.
    crate::support::eventually("both are asked", || {
        let response = get(gateway.addr, "/");
        let asked = hosts
            .each_ref()
            .map(|host| host.handshakes.load(Ordering::SeqCst));
        assert!(response.status() != 200 || response.text() == "HTTP/2.0 https\n");
        response.status() == 200 && asked.iter().all(|asked| *asked > 0)
    });
}
