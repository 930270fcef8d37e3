//! Where hosts come from, and how they are followed.

use seawall_testkit::{Dns, DnsKind, DnsReply};

use crate::support::{Setup, assert_all_free, eventually, get};
use crate::upstream::{named, nobody};

#[test]
fn endpoints_follow_a_file() {
    let (one, two) = (named("one"), named("two"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hosts");
    std::fs::write(&file, format!("{}\n", one.addr)).unwrap();
    let lines = format!("endpoints = ['file://{}']\n", file.display());
    let gateway = Setup::to(nobody()).upstream(&lines).start();
    eventually("the first is found", || {
        get(gateway.addr, "/").text() == "one"
    });
    std::fs::write(&file, format!("{}\n", two.addr)).unwrap();
    eventually("the second is found", || {
        get(gateway.addr, "/").text() == "two"
    });
    std::fs::write(&file, "no host at all\n").unwrap();
    assert_eq!(get(gateway.addr, "/").text(), "two");
    assert_all_free(&gateway);
}

#[test]
fn a_name_is_followed_and_an_error_of_dns_changes_nothing() {
    let dns = Dns::start().unwrap();
    let origin = named("found");
    let port = origin.addr.port();
    let good = DnsReply::ips(0, ["127.0.0.1"]);
    dns.say("shop.test", DnsKind::A, [good, DnsReply::Code(2)]);
    let lines = format!("endpoints = ['dns://shop.test:{port}']\n");
    let resolvers = format!("[discovery]\nresolvers = ['{}']\n", dns.address());
    let gateway = Setup::to(nobody())
        .upstream(&lines)
        .rest(&resolvers)
        .start();
    eventually("it is found", || get(gateway.addr, "/").text() == "found");
    // Another list, whose name does not resolve: what was found stays in use.
    let mut config = seawall::config::Config::clone(&gateway.config());
    config.upstreams.get_mut("default").unwrap().endpoints = vec!["nowhere.test:80".into()];
    gateway.reload(&config).unwrap();
    eventually("it is asked for", || {
        dns.asked("nowhere.test", DnsKind::A) > 0
    });
    assert_eq!(get(gateway.addr, "/").text(), "found");
    assert_all_free(&gateway);
}

#[test]
fn a_name_without_an_address_is_an_error_and_no_wait() {
    let dns = Dns::start().unwrap();
    let resolvers = format!("[discovery]\nresolvers = ['{}']\n", dns.address());
    let gateway = Setup::to(nobody())
        .upstream("endpoints = ['dns://nowhere.test:80']\n")
        .rest(&resolvers)
        .start();
    let response = get(gateway.addr, "/");
    assert_eq!(response.status(), 502, "{response:?}");
    let reject = response.get("seawall-reject").unwrap_or_default();
    assert!(reject.contains("reason=unreachable"), "{reject}");
}
