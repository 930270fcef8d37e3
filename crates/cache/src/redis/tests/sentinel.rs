use seawall_testkit::{FakeRedis, FakeReply, RedisFailover};

use super::*;

#[tokio::test]
async fn commands_work_again_after_a_failover() {
    let fleet = RedisFailover::start().expect("a fleet");
    let redis = Redis::sentinel(&[&fleet.sentinel_url()], RedisFailover::NAME).expect("URLs");
    assert_eq!(eventually(&redis, &set("a", "1")).await, Value::Okay);
    // Arrived at the replica, which nobody promises otherwise.
    redis.run(cmd("WAIT").arg(1).arg(0)).await.ok();
    let first = fleet.master().expect("a master");
    fleet.servers()[0].kill();
    assert!(soon(redis.run(&set("a", "2"))).await.is_err());
    assert_eq!(eventually(&redis, &set("a", "2")).await, Value::Okay);
    assert_ne!(fleet.master().expect("a master"), first);
    let role = eventually(&redis, &cmd("ROLE")).await;
    assert!(format!("{role:?}").contains("master"), "{role:?}");
}

fn names(port: u16) -> FakeRedis {
    let line = format!(
        "*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}",
        port.to_string().len()
    );
    FakeRedis::start(move |command| match command[0].as_slice() {
        b"SENTINEL" => FakeReply::line(&line),
        _ => FakeReply::Usual,
    })
    .expect("a port")
}

fn server(role: &'static str) -> FakeRedis {
    FakeRedis::start(move |command| match command[0].as_slice() {
        b"ROLE" => FakeReply::line(&format!("*1\r\n${}\r\n{role}", role.len())),
        b"SET" if role == "slave" => FakeReply::line("-READONLY You can't write"),
        _ => FakeReply::Usual,
    })
    .expect("a port")
}

#[tokio::test]
async fn what_most_sentinels_say_counts() {
    let (old, new) = (server("master"), server("master"));
    let silent = FakeRedis::start(|_| FakeReply::Silence).expect("a port");
    let at = |fake: &FakeRedis| fake.address().port();
    let sentinels = [names(at(&old)), names(at(&new)), names(at(&new)), silent];
    let urls: Vec<_> = sentinels.iter().map(FakeRedis::url).collect();
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    let redis = Redis::sentinel(&urls, "main").expect("URLs");
    assert_eq!(eventually(&redis, &set("a", "1")).await, Value::Okay);
    assert_eq!((old.connections(), new.connections()), (0, 1));
}

#[tokio::test]
async fn a_replica_that_sentinels_name_is_not_used() {
    let replica = server("slave");
    let sentinel = names(replica.address().port());
    let redis = patient(Redis::sentinel(&[&sentinel.url()], "main"));
    assert_eq!(redis.run(&set("a", "1")).await, Err(Fault::ReadOnly));
}

#[tokio::test]
async fn a_master_that_becomes_a_replica_is_left() {
    let (old, new) = (server("master"), server("master"));
    let sentinel = names(old.address().port());
    let redis = patient(Redis::sentinel(&[&sentinel.url()], "main"));
    redis.run(&set("a", "1")).await.expect("set");
    let port = new.address().port();
    sentinel.say(move |command| match command[0].as_slice() {
        b"SENTINEL" => FakeReply::line(&format!("*2\r\n$9\r\n127.0.0.1\r\n$5\r\n{port}")),
        _ => FakeReply::Usual,
    });
    // The connection stays: what it says is all that tells.
    old.say(|_| FakeReply::line("-READONLY You can't write"));
    assert_eq!(redis.run(&set("a", "1")).await, Err(Fault::ReadOnly));
    assert_eq!(eventually(&redis, &set("a", "1")).await, Value::Okay);
    assert_eq!(new.connections(), 1);
}

#[tokio::test]
async fn a_name_that_no_sentinel_knows_is_told() {
    let sentinel = FakeRedis::start(|command| match command[0].as_slice() {
        b"SENTINEL" => FakeReply::line("*-1"),
        _ => FakeReply::Usual,
    })
    .expect("a port");
    let redis = patient(Redis::sentinel(&[&sentinel.url()], "nobody"));
    let fault = redis.run(&get("a")).await.expect_err("nobody");
    assert!(fault.to_string().contains("nobody"), "{fault}");
    assert!(Redis::sentinel(&[], "main").is_err());
}
