//! On real servers, and on one that says what it should not.

use std::future::Future;

use seawall_testkit::{FakeRedis, FakeReply, Redis as Server, RedisCluster, RedisFailover};

use super::*;
use crate::redis::Redis;

const NAME: &str = "test:cache!";
const BOUND: Duration = Duration::from_millis(400);

fn start(redis: &Redis) -> Coherence {
    Coherence::start(redis, NAME.as_bytes(), BOUND, Clock::system())
}

/// One that a machine with other work to do does not make lose anything.
fn patient(server: &Server) -> Coherence {
    let redis = Redis::single(&server.url()).expect("a URL");
    let bound = Duration::from_secs(30);
    Coherence::start(&redis, NAME.as_bytes(), bound, Clock::system())
}

fn single(server: &Server) -> Coherence {
    start(&Redis::single(&server.url()).expect("a URL"))
}

fn publish(server: &Server, message: &str) {
    server.ask(&["PUBLISH", NAME, message]).expect("published");
}

/// Looks until it is so, for half a minute at most.
async fn until(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{what} does not happen");
}

async fn intact(coherence: &Coherence) {
    until("a channel", || coherence.intact(Clock::system().now())).await;
}

fn lost(coherence: &Coherence) -> u64 {
    coherence.counts().lost.load(SeqCst)
}

#[tokio::test]
async fn notices_are_heard_as_they_are_whatever_is_in_the_key() {
    let server = Server::start().expect("redis-server");
    let coherence = patient(&server);
    assert!(!coherence.intact(Clock::system().now()));
    intact(&coherence).await;
    let (heard, _hearing) = record(&coherence);
    let waiting = coherence.waiting(&key("a b\0"));
    for message in ["Fa b\0", "Ikey", "I", "E7", "Hhot"] {
        publish(&server, message);
    }
    server
        .ask(&["PUBLISH", "test:other!", "Ikey"])
        .expect("published");
    waiting.await;
    until("the last", || heard.lock().len() == 5).await;
    let expected = [
        Notice::Filled(key("a b\0")),
        Notice::Invalidated(key("key")),
        Notice::Invalidated(key("")),
        Notice::Epoch(7),
        Notice::Hot(key("hot"), true),
    ];
    assert_eq!(*heard.lock(), expected);
    assert!(coherence.intact(Clock::system().now()));
}

#[tokio::test]
async fn a_message_that_is_none_is_a_loss() {
    let server = Server::start().expect("redis-server");
    let coherence = patient(&server);
    intact(&coherence).await;
    let (heard, _hearing) = record(&coherence);
    let waiting = coherence.waiting(&key("a"));
    publish(&server, "?");
    waiting.await;
    assert_eq!(*heard.lock(), [Notice::Lost]);
    assert_eq!(coherence.counts().garbage.load(SeqCst), 1);
}

/// Between two numbers that do not follow one another there is a loss.
fn check(heard: &[Notice]) -> Result<(), String> {
    let mut last = None;
    for (index, notice) in heard.iter().enumerate() {
        last = match *notice {
            Notice::Epoch(number) => {
                if last.is_some_and(|last| number != last + 1) {
                    return Err(format!("{last:?}, then {number} at {index}"));
                }
                Some(number)
            }
            _ => None,
        };
    }
    Ok(())
}

#[test]
fn the_check_finds_a_gap() {
    let of = |numbers: &[u64]| {
        numbers
            .iter()
            .map(|&n| Notice::Epoch(n))
            .collect::<Vec<_>>()
    };
    assert!(check(&of(&[1, 2, 3])).is_ok());
    assert!(check(&of(&[1, 3])).is_err());
    assert!(check(&[of(&[1]), vec![Notice::Lost], of(&[3])].concat()).is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_missed_unnoticed() {
    let mut server = Server::start().expect("redis-server");
    let coherence = single(&server);
    let (heard, _hearing) = record(&coherence);
    let redis = Redis::single(&server.url()).expect("a URL");
    let ended = Arc::new(AtomicU64::new(0));
    let (end, to) = (ended.clone(), redis.clone());
    let told = tokio::spawn(async move {
        let mut number = 0;
        while end.load(SeqCst) == 0 {
            // One that fails may have been published or not: its number is not used again.
            number += 1;
            let mut publish = redis::cmd("PUBLISH");
            publish.arg(NAME).arg(format!("E{number}"));
            let _ = to.run(&publish).await;
        }
        number
    });
    for round in 0..12 {
        intact(&coherence).await;
        let before = lost(&coherence);
        match round % 4 {
            0..=1 => drop(server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"])),
            2 => {
                server.freeze().expect("it runs");
                until("a loss", || lost(&coherence) > before).await;
                server.thaw().expect("it is stopped");
            }
            _ => {
                server.kill();
                server.restart().expect("redis-server");
            }
        }
        until("a loss", || lost(&coherence) >= before + 2).await;
    }
    intact(&coherence).await;
    ended.store(1, SeqCst);
    let number = told.await.expect("no panic");
    let heard = heard.lock();
    check(&heard).expect("no gap");
    assert!(
        number > 100 && heard.len() > 100,
        "{number}, {}",
        heard.len()
    );
}

#[tokio::test]
async fn a_frozen_server_is_noticed_within_the_bound() {
    let server = Server::start().expect("redis-server");
    let coherence = single(&server);
    intact(&coherence).await;
    let before = lost(&coherence);
    let waiting = coherence.waiting(&key("a"));
    server.freeze().expect("it runs");
    let frozen = Clock::system().now();
    let now = frozen.0 + BOUND.as_nanos() as u64 + 1;
    assert!(!coherence.intact(Tick(now)));
    waiting.await;
    assert!(lost(&coherence) > before);
    assert!(!coherence.intact(Clock::system().now()));
    assert_eq!(coherence.heard(), Tick::ZERO);
    server.thaw().expect("it is stopped");
    intact(&coherence).await;
    assert!(lost(&coherence) > before + 1);
}

#[tokio::test]
async fn every_master_of_a_cluster_is_heard() {
    let mut servers = RedisCluster::start(3).expect("a Cluster");
    let urls = servers.urls();
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    let coherence = start(&Redis::cluster(&urls).expect("URLs"));
    intact(&coherence).await;
    let (heard, _hearing) = record(&coherence);
    for (index, server) in servers.servers().iter().enumerate() {
        publish(server, &format!("I{index}"));
    }
    for index in 0..3 {
        let notice = Notice::Invalidated(key(&index.to_string()));
        until("a notice", || heard.lock().contains(&notice)).await;
    }
    for server in servers.servers() {
        let count = server.ask(&["PUBSUB", "NUMSUB", NAME]).expect("a count");
        assert!(count.ends_with("\n1"), "{count}");
    }
    let before = lost(&coherence);
    servers.servers()[2].kill();
    until("a loss", || lost(&coherence) > before).await;
    assert!(!coherence.intact(Clock::system().now()));
    servers.servers_mut()[2].restart().expect("redis-server");
    intact(&coherence).await;
}

#[tokio::test]
async fn the_next_master_is_heard_after_a_failover() {
    let fleet = RedisFailover::start().expect("a fleet");
    let redis = Redis::sentinel(&[&fleet.sentinel_url()], RedisFailover::NAME).expect("URLs");
    let coherence = start(&redis);
    intact(&coherence).await;
    let before = lost(&coherence);
    fleet.servers()[0].kill();
    until("a loss", || lost(&coherence) > before).await;
    intact(&coherence).await;
    let (heard, _hearing) = record(&coherence);
    publish(&fleet.servers()[1], "Ia");
    until("a notice", || {
        heard.lock().contains(&Notice::Invalidated(key("a")))
    })
    .await;
}

#[test]
fn a_runtime_that_ends_is_a_loss_and_the_next_one_listens_again() {
    let server = Server::start().expect("redis-server");
    let runtime = || tokio::runtime::Runtime::new().expect("a runtime");
    // Begun outside of any.
    let coherence = single(&server);
    assert!(!coherence.intact(Clock::system().now()));
    for _ in 0..2 {
        let before = lost(&coherence);
        runtime().block_on(async {
            coherence.ensure();
            intact(&coherence).await;
        });
        assert!(!coherence.intact(Clock::system().now()));
        assert!(lost(&coherence) >= before + 2);
    }
}

#[tokio::test]
async fn it_ends_with_its_last_clone() {
    let server = Server::start().expect("redis-server");
    let coherence = single(&server);
    intact(&coherence).await;
    drop(coherence.clone());
    let count = || server.ask(&["PUBSUB", "NUMSUB", NAME]).expect("a count");
    assert!(count().ends_with("\n1"));
    drop(coherence);
    until("its end", || count().ends_with("\n0")).await;
}

/// A fake that is subscribed to, and says this to a `PING`.
fn fake(ping: FakeReply, subscribe: FakeReply) -> FakeRedis {
    FakeRedis::start(move |command| match command[0].as_slice() {
        b"PING" => ping.clone(),
        b"SUBSCRIBE" => subscribe.clone(),
        _ => FakeReply::Usual,
    })
    .expect("a port")
}

fn subscribed() -> FakeReply {
    let length = NAME.len();
    FakeReply::line(&format!(
        ">3\r\n$9\r\nsubscribe\r\n${length}\r\n{NAME}\r\n:1"
    ))
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(Duration::from_secs(20), what).await;
    ended.expect("it ends by itself")
}

#[tokio::test]
async fn a_channel_that_proves_nothing_is_lost() {
    for ping in [
        FakeReply::Silence,
        FakeReply::line("-LOADING Redis is loading"),
        FakeReply::line("garbage"),
        FakeReply::Closes(Vec::new()),
    ] {
        let fake = fake(ping.clone(), subscribed());
        let coherence = start(&Redis::single(&fake.url()).expect("a URL"));
        intact(&coherence).await;
        let before = lost(&coherence);
        until("a loss", || lost(&coherence) > before).await;
        // It is tried again.
        until("another", || fake.connections() >= 2).await;
    }
}

#[tokio::test]
async fn who_may_not_subscribe_is_never_intact_and_does_not_storm() {
    for reply in [
        FakeReply::line("-NOPERM no access to the channel"),
        FakeReply::Closes(Vec::new()),
    ] {
        let fake = fake(FakeReply::Usual, reply);
        let coherence = start(&Redis::single(&fake.url()).expect("a URL"));
        soon(coherence.waiting(&key("a"))).await;
        until("a second try", || fake.connections() >= 3).await;
        assert!(!coherence.intact(Clock::system().now()));
    }
}
