//! The whole search in virtual time, against answers from a script.

use std::collections::HashMap;
use std::future::pending;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::answer::{Question, Record, Reply, Service};
use super::resolver::Looking;
use super::*;

/// What a scripted server says; the last of a list for ever.
#[derive(Clone)]
enum Say {
    Ips(u64, Vec<String>),
    Services(u64, Vec<(&'static str, u16, u16)>),
    Fail(DnsError),
    Silence,
}

#[derive(Clone, Default)]
struct Script(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    says: HashMap<(String, RecordKind), Vec<Say>>,
    asked: HashMap<(String, RecordKind), Vec<Instant>>,
}

fn ips(ttl: u64, ips: &[&str]) -> Say {
    Say::Ips(ttl, ips.iter().map(|ip| (*ip).to_owned()).collect())
}

impl Script {
    fn say(&self, name: &str, kind: RecordKind, says: &[Say]) {
        let mut lines = self.0.lock();
        let mut says = says.to_vec();
        says.reverse();
        lines.says.insert((name.to_owned(), kind), says);
    }

    fn asked(&self, name: &str, kind: RecordKind) -> Vec<Instant> {
        let lines = self.0.lock();
        lines
            .asked
            .get(&(name.to_owned(), kind))
            .cloned()
            .unwrap_or_default()
    }

    fn discovery(&self, change: impl FnOnce(&mut Settings)) -> Discovery {
        let mut settings = Settings {
            hosts: "/nowhere".into(),
            families: Families::V4,
            ..Settings::default()
        };
        change(&mut settings);
        Discovery::with(&settings, Box::new(self.clone()))
    }
}

impl Lookup for Script {
    fn look_up<'a>(&'a self, question: &'a Question) -> Looking<'a> {
        let key = (question.name.to_string(), question.kind);
        let mut lines = self.0.lock();
        lines
            .asked
            .entry(key.clone())
            .or_default()
            .push(Instant::now());
        let says = lines.says.entry(key).or_default();
        let say = if says.len() > 1 {
            says.pop()
        } else {
            says.last().cloned()
        };
        Box::pin(async move {
            sleep(Duration::from_millis(20)).await;
            let of = |ttl, records| Reply {
                records,
                ttl: Duration::from_secs(ttl),
            };
            match say {
                Some(Say::Ips(ttl, ips)) => Ok(of(
                    ttl,
                    ips.iter()
                        .map(|ip| Record::Address(ip.parse().unwrap()))
                        .collect(),
                )),
                Some(Say::Services(ttl, services)) => {
                    let record = |(target, port, priority): &(&str, u16, u16)| {
                        Record::Service(Service {
                            target: (*target).into(),
                            port: *port,
                            priority: *priority,
                            weight: 1,
                        })
                    };
                    Ok(of(ttl, services.iter().map(record).collect()))
                }
                Some(Say::Fail(error)) => Err(error),
                Some(Say::Silence) => pending().await,
                None => Err(DnsError::NoSuchName),
            }
        })
    }
}

fn shown(list: &[Endpoint]) -> Vec<String> {
    list.iter().map(|e| e.address.to_string()).collect()
}

const S: Duration = Duration::from_secs(1);
use RecordKind::{A, Srv};

#[tokio::test(start_paused = true)]
async fn an_upstream_that_resolves_to_nothing_says_why_and_goes_on() {
    let script = Script::default();
    let discovery = script.discovery(|s| s.families = Families::Both);
    script.say("db", A, &[Say::Silence, ips(5, &["10.0.0.1"])]);
    let endpoints = discovery.start("db:80".parse().unwrap());
    assert!(endpoints.current().is_empty());
    let error = timeout(5 * S, endpoints.ready())
        .await
        .unwrap()
        .unwrap_err();
    assert!(
        matches!(
            &error,
            DiscoveryError::Dns {
                error: DnsError::Timeout,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(
        error.to_string(),
        "A records of `db`: no resolver answered in time"
    );
    let state = endpoints.state();
    assert_eq!(
        (state.endpoints, state.version, state.errors.len()),
        (0, 0, 1)
    );
    assert_eq!(state.answered, None);

    let next = timeout(5 * S, endpoints.changed(0)).await.unwrap();
    assert_eq!(shown(&next.value), ["10.0.0.1:80"]);
    sleep(S).await;
    assert!(endpoints.state().errors.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_thousand_upstreams_of_one_name_ask_once_a_time() {
    let script = Script::default();
    script.say("db", A, &[ips(20, &["10.0.0.1"])]);
    let discovery = script.discovery(|_| {});
    let mut all = Vec::new();
    for n in 0..1000 {
        all.push(discovery.start(format!("db:{}", n + 1).parse().unwrap()));
        if n % 100 == 0 {
            sleep(S).await;
        }
    }
    sleep(Duration::from_secs(100)).await;
    for endpoints in &all {
        assert_eq!(endpoints.ready().await.unwrap().len(), 1);
    }
    let asked = script.asked("db", A);
    assert!((5..=6).contains(&asked.len()), "{}", asked.len());
    for pair in asked.windows(2) {
        let pause = pair[1] - pair[0];
        assert!(pause >= 20 * S && pause <= 23 * S, "{pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn ttls_are_held_between_floor_and_cap() {
    let script = Script::default();
    script.say("short", A, &[ips(0, &["10.0.0.1"])]);
    script.say("long", A, &[ips(86_400, &["10.0.0.1"])]);
    let discovery = script.discovery(|_| {});
    let _both = discovery.start(Source::targets(["short:80", "long:80"]).unwrap());
    sleep(Duration::from_secs(600)).await;
    let count = |name| script.asked(name, A).len();
    assert!((109..=121).contains(&count("short")), "{}", count("short"));
    assert!((10..=11).contains(&count("long")), "{}", count("long"));
}

#[tokio::test(start_paused = true)]
async fn the_last_good_answer_outlives_every_failure() {
    let script = Script::default();
    let failures = [
        DnsError::NoSuchName,
        DnsError::Timeout,
        DnsError::Refused("Server Failure".into()),
    ];
    let mut says = vec![ips(5, &["10.0.0.1"])];
    says.extend(failures.map(Say::Fail));
    says.push(ips(5, &[]));
    script.say("db", A, &says);
    let discovery = script.discovery(|_| {});
    let endpoints = discovery.start("db:80".parse().unwrap());
    endpoints.ready().await.unwrap();
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(shown(&endpoints.current()), ["10.0.0.1:80"]);
    let state = endpoints.state();
    assert_eq!(state.version, 1);
    assert!(
        state.answered.is_some_and(|age| age > 3590 * S),
        "{state:?}"
    );
    assert!(
        state.failing_for.is_some_and(|age| age > 3580 * S),
        "{state:?}"
    );

    // Started while nothing answers, as after a reload.
    let anew = discovery.start("db:81".parse().unwrap());
    assert_eq!(shown(&anew.ready().await.unwrap()), ["10.0.0.1:81"]);
}

#[tokio::test(start_paused = true)]
async fn retries_grow_and_an_answer_ends_them() {
    let script = Script::default();
    let mut says = vec![Say::Fail(DnsError::Timeout); 8];
    says.push(ips(5, &["10.0.0.1"]));
    script.say("db", A, &says);
    let discovery = script.discovery(|_| {});
    let endpoints = discovery.start("db:80".parse().unwrap());
    endpoints.changed(0).await;
    let asked = script.asked("db", A);
    assert_eq!(asked.len(), 9);
    for (n, pair) in asked.windows(2).enumerate() {
        let most = Duration::from_secs(1 << n).min(30 * S);
        let pause = pair[1] - pair[0];
        assert!(
            pause >= most / 2 && pause <= most + S / 10,
            "{n}: {pause:?}"
        );
    }
    sleep(S).await;
    assert!(endpoints.state().errors.is_empty() && endpoints.state().failing_for.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_name_without_records_is_asked_again_as_one_that_fails() {
    let script = Script::default();
    script.say("db", A, &[ips(3600, &[]), ips(3600, &["10.0.0.1"])]);
    let endpoints = script.discovery(|_| {}).start("db:80".parse().unwrap());
    let error = endpoints.ready().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "A records of `db`: the name has no address"
    );
    let since = Instant::now();
    endpoints.changed(0).await;
    assert!(since.elapsed() < 2 * S);
}

#[tokio::test(start_paused = true)]
async fn a_rotating_answer_changes_nothing() {
    let script = Script::default();
    let says: Vec<Say> = (0..100)
        .map(|n| {
            let part: Vec<String> = (0..3)
                .map(|k| format!("10.0.0.{}", (n + 3 * k) % 9))
                .collect();
            Say::Ips(5, part)
        })
        .collect();
    script.say("db", A, &says);
    let discovery = script.discovery(|_| {});
    let endpoints = discovery.start("db:80".parse().unwrap());
    sleep(20 * S).await;
    let whole = endpoints.versioned();
    assert_eq!(whole.value.len(), 9);
    sleep(400 * S).await;
    assert_eq!(endpoints.versioned().version, whole.version);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_has_gone_goes_after_the_grace() {
    let script = Script::default();
    script.say(
        "db",
        A,
        &[ips(5, &["10.0.0.1", "10.0.0.2"]), ips(5, &["10.0.0.2"])],
    );
    let discovery = script.discovery(|_| {});
    let endpoints = discovery.start("db:80".parse().unwrap());
    endpoints.ready().await.unwrap();
    let since = Instant::now();
    let next = endpoints.changed(1).await;
    assert_eq!(shown(&next.value), ["10.0.0.2:80"]);
    let took = since.elapsed();
    assert!(took >= 35 * S && took <= 50 * S, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_addresses_are_the_same_subset_each_time() {
    let script = Script::default();
    let says: Vec<Say> = (0..20)
        .map(|n| {
            let ip = |k: u64| format!("10.0.{}.{}", (k + n) % 4, (k + n) / 4 % 250);
            Say::Ips(5, (0..1000).map(ip).collect())
        })
        .collect();
    script.say("db", A, &says);
    let of = |subset| {
        script
            .discovery(|s| s.subset = subset)
            .start("db:80".parse().unwrap())
    };
    let (one, same, other) = (of(1), of(1), of(2));
    let list = one.ready().await.unwrap();
    assert_eq!(list.len(), 128);
    assert_eq!(list, same.ready().await.unwrap());
    assert_ne!(list, other.ready().await.unwrap());
    sleep(60 * S).await;
    assert_eq!(
        one.versioned().version,
        1,
        "the order has changed, the set has not"
    );
}

#[tokio::test(start_paused = true)]
async fn srv_records_lead_to_addresses() {
    let script = Script::default();
    let name = "_http._tcp.db";
    script.say(
        name,
        Srv,
        &[
            Say::Services(5, vec![("b.db.", 81, 2), ("a.db.", 80, 1)]),
            Say::Services(5, vec![("a.db.", 80, 1), ("c.db.", 80, 1)]),
        ],
    );
    script.say("a.db.", A, &[ips(60, &["10.0.0.2"])]);
    script.say("b.db.", A, &[ips(60, &["10.0.0.1"])]);
    script.say("c.db.", A, &[ips(60, &["10.0.0.3"])]);
    let discovery = script.discovery(|_| {});
    let endpoints = discovery.start(format!("srv://{name}").parse().unwrap());
    let list = endpoints.ready().await.unwrap();
    assert_eq!(shown(&list), ["10.0.0.2:80", "10.0.0.1:81"]);
    assert_eq!(Endpoint::groups(&list).next().map(<[_]>::len), Some(1));

    let mut seen = endpoints.versioned().version;
    let mut lists = Vec::new();
    while lists
        .last()
        .is_none_or(|last: &Vec<String>| last.len() != 2)
    {
        let next = endpoints.changed(seen).await;
        seen = next.version;
        lists.push(shown(&next.value));
    }
    assert_eq!(
        lists,
        [
            vec!["10.0.0.2:80", "10.0.0.3:80", "10.0.0.1:81"],
            vec!["10.0.0.2:80", "10.0.0.3:80"],
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn one_silent_name_does_not_hold_the_others_up() {
    let script = Script::default();
    script.say("good", A, &[ips(5, &["10.0.0.1"])]);
    script.say("bad", A, &[Say::Silence]);
    let discovery = script.discovery(|_| {});
    let endpoints = discovery.start(Source::targets(["bad:80", "good:80"]).unwrap());
    let since = Instant::now();
    assert_eq!(endpoints.changed(0).await.value.len(), 1);
    assert!(since.elapsed() < S);
    sleep(10 * S).await;
    let errors = endpoints.state().errors;
    assert_eq!(errors.len(), 1);
    assert!(errors[0].to_string().contains("`bad`"), "{}", errors[0]);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_handle_ends_the_search() {
    let script = Script::default();
    script.say("db", A, &[ips(5, &["10.0.0.1"])]);
    let discovery = script.discovery(|_| {});
    let endpoints = discovery.start("db:80".parse().unwrap());
    endpoints.ready().await.unwrap();
    let shared = Arc::downgrade(endpoints.shared());
    drop(endpoints);
    tokio::task::yield_now().await;
    assert!(shared.upgrade().is_none(), "the task has let go of it");
    sleep(600 * S).await;
    assert_eq!(script.asked("db", A).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_needs_no_dns_asks_none() {
    let dir = tempfile::tempdir().unwrap();
    let hosts = dir.path().join("hosts");
    std::fs::write(&hosts, "10.0.0.5 db\n::5 db\n").unwrap();
    let script = Script::default();
    let discovery = script.discovery(|s| {
        s.hosts = hosts.clone();
        s.families = Families::Both;
    });
    let endpoints =
        discovery.start(Source::targets(["db:80", "localhost:80", "[::7]:80"]).unwrap());
    endpoints.ready().await.unwrap();
    assert_eq!(
        shown(&endpoints.current()),
        ["10.0.0.5:80", "127.0.0.1:80", "[::5]:80", "[::7]:80"]
    );
    assert!(endpoints.state().errors.is_empty());
    assert!(script.0.lock().asked.is_empty());

    // The file is read again.
    std::fs::write(&hosts, "10.0.0.6 db\n").unwrap();
    let next = endpoints.changed(endpoints.versioned().version).await;
    assert!(shown(&next.value).contains(&"10.0.0.6:80".to_owned()));
}

#[test]
fn static_addresses_need_no_runtime() {
    let discovery = Discovery::default();
    let endpoints = discovery.start(Source::targets(["10.0.0.2:80", "10.0.0.1:80"]).unwrap());
    assert_eq!(shown(&endpoints.current()), ["10.0.0.1:80", "10.0.0.2:80"]);
    assert_eq!(endpoints.versioned().version, 0);

    let none = discovery.start(Source::Static(Vec::new()));
    assert!(matches!(none.state().errors[..], [DiscoveryError::Empty]));
    let ready = futures_util::FutureExt::now_or_never(none.ready());
    assert!(matches!(ready, Some(Err(DiscoveryError::Empty))));
}

#[tokio::test(start_paused = true)]
async fn a_file_is_followed_and_a_bad_one_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (path, next) = (dir.path().join("list"), dir.path().join("next"));
    let script = Script::default();
    script.say("db", A, &[ips(5, &["10.0.0.9"])]);
    let discovery = script.discovery(|_| {});
    let source = Source::File(path.clone());
    assert!(source.check().is_err());
    let endpoints = discovery.start(source);
    let error = endpoints.ready().await.unwrap_err();
    assert!(
        matches!(
            error,
            DiscoveryError::File {
                error: ListError::Io(_),
                ..
            }
        ),
        "{error}"
    );

    std::fs::write(&path, "10.0.0.1:80\n").unwrap();
    let one = endpoints.changed(0).await;
    assert_eq!(shown(&one.value), ["10.0.0.1:80"]);

    for bad in ["", "10.0.0.2:80\n10.0.0", "\u{0}"] {
        std::fs::write(&path, bad).unwrap();
        sleep(3 * S).await;
        assert_eq!(endpoints.versioned().version, one.version, "{bad:?}");
        assert_eq!(endpoints.state().errors.len(), 1);
    }
    std::fs::remove_file(&path).unwrap();
    sleep(3 * S).await;
    assert_eq!(endpoints.versioned().version, one.version);

    std::fs::write(&next, "10.0.0.2:80\ndb:80 weight=2\n").unwrap();
    std::fs::rename(&next, &path).unwrap();
    let two = endpoints.changed(one.version).await;
    assert_eq!(
        shown(&two.value),
        ["10.0.0.2:80", "10.0.0.9:80"],
        "at once, with the name's"
    );
    sleep(3 * S).await;
    assert!(endpoints.state().errors.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_name_that_a_file_drops_is_asked_and_told_of_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("list");
    std::fs::write(&path, "10.0.0.1:80\nbad:80\n").unwrap();
    let script = Script::default();
    script.say("bad", A, &[Say::Fail(DnsError::Timeout)]);
    let discovery = script.discovery(|_| {});
    let endpoints = discovery.start(Source::File(path.clone()));
    endpoints.ready().await.unwrap();
    assert_eq!(endpoints.state().errors.len(), 1);
    std::fs::write(&path, "10.0.0.1:80\n").unwrap();
    sleep(3 * S).await;
    let asked = script.asked("bad", A).len();
    let ended = timeout(100 * S, sleep(99 * S)).await;
    assert!(ended.is_ok(), "what is overdue for ever leaves no time");
    assert_eq!(script.asked("bad", A).len(), asked);
    assert!(endpoints.state().errors.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_runtime_is_told() {
    let script = Script::default();
    script.say("db", A, &[Say::Silence]);
    let discovery = script.discovery(|_| {});
    let endpoints = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        let runtime = runtime.unwrap();
        runtime.block_on(async { discovery.start("db:80".parse().unwrap()) })
    });
    let endpoints = endpoints.join().unwrap();
    assert!(matches!(
        endpoints.ready().await,
        Err(DiscoveryError::Ended)
    ));
}
