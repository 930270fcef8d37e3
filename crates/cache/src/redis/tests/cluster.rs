use std::collections::BTreeSet;

use seawall_testkit::{FakeRedis, FakeReply, RedisCluster};

use super::super::slots::{shard_of, slot_of};
use super::*;

fn cluster(of: &RedisCluster) -> Redis {
    let urls = of.urls();
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    Redis::cluster(&urls).expect("URLs")
}

/// Which of three servers a key is with.
fn server_of(key: &str) -> usize {
    usize::from(slot_of(key.as_bytes())) * 3 / 16_384
}

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("key {index}")).collect()
}

#[tokio::test]
async fn keys_are_on_all_shards_and_one_that_is_killed_takes_its_own() {
    let mut servers = RedisCluster::start(3).expect("a Cluster");
    let redis = cluster(&servers).timeout(Duration::from_secs(1));
    let keys = keys(60);
    for key in &keys {
        assert_eq!(eventually(&redis, &set(key, key)).await, Value::Okay);
    }
    let shards: BTreeSet<_> = keys.iter().map(|key| shard_of(key.as_bytes())).collect();
    assert!(shards.len() > 20 && shards.iter().all(|&shard| shard < 64));
    assert_eq!(redis.shard_of(b"key 0"), shard_of(b"key 0"));

    // In one piece, the answers in the order of the commands.
    let gets = || keys.iter().map(|key| get(key)).collect::<Vec<_>>();
    let whole = redis.run_many(gets()).await;
    let expected: Vec<_> = keys.iter().map(|key| Ok(bulk(key))).collect();
    assert_eq!(whole, expected);
    let script = Script::new("return redis.call('GET', KEYS[1])");
    let names: Vec<_> = keys.iter().map(|key| [key.as_bytes()]).collect();
    let calls: Vec<_> = names.iter().map(|keys| Call { keys, args: &[] }).collect();
    assert_eq!(redis.call_many(&script, &calls).await, expected);

    for frozen in [false, true] {
        let dead = 1;
        if frozen {
            servers.servers()[dead].freeze().expect("it runs");
        } else {
            servers.servers()[dead].kill();
        }
        // Not once: the map is asked for meanwhile, and that must not concern the others.
        for _ in 0..4 {
            for (key, answer) in keys.iter().zip(soon(redis.run_many(gets())).await) {
                assert_eq!(answer.is_ok(), server_of(key) != dead, "{key}: {answer:?}");
                if let Err(fault) = answer {
                    assert!(fault.is_outage(), "{fault}");
                }
            }
        }
        if frozen {
            servers.servers()[dead].thaw().expect("it is stopped");
        } else {
            servers.servers_mut()[dead].restart().expect("redis-server");
        }
        for key in &keys {
            assert_eq!(eventually(&redis, &get(key)).await, bulk(key));
        }
    }
}

#[tokio::test]
async fn a_slot_that_is_moved_is_followed() {
    let servers = RedisCluster::start(3).expect("a Cluster");
    let redis = patient(Ok(cluster(&servers)));
    let (there, not_there) = ("{foo}1", "{foo}2");
    eventually(&redis, &set(there, "1")).await;
    let slot = slot_of(b"foo").to_string();
    let (from, to) = (server_of("foo"), (server_of("foo") + 1) % 3);
    let (from_id, to_id) = (
        servers.id(from).expect("an id"),
        servers.id(to).expect("an id"),
    );
    let [from, to] = [from, to].map(|index| &servers.servers()[index]);
    to.ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id])
        .expect("set");
    from.ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id])
        .expect("set");

    // What is still there is answered there, what is not by the other.
    assert_eq!(redis.run(&get(there)).await, Ok(bulk("1")));
    assert_eq!(redis.run(&set(not_there, "2")).await, Ok(Value::Okay));
    let many = redis.run_many(vec![get(there), get(not_there)]).await;
    assert_eq!(many, [Ok(bulk("1")), Ok(bulk("2"))]);
    let script = Script::new("return redis.call('GET', KEYS[1])");
    assert_eq!(
        redis.call(&script, &[not_there.as_bytes()], &[]).await,
        Ok(bulk("2"))
    );

    let port = to.address().port().to_string();
    from.ask(&["MIGRATE", "127.0.0.1", &port, there, "0", "5000"])
        .expect("moved");
    assert_eq!(redis.run(&get(there)).await, Ok(bulk("1")));
    for server in servers.servers() {
        server
            .ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id])
            .expect("set");
    }
    for _ in 0..50 {
        assert_eq!(redis.run(&get(there)).await, Ok(bulk("1")));
        assert_eq!(redis.run(&get(not_there)).await, Ok(bulk("2")));
    }
}

/// A server of a Cluster of one, that answers `GET` like this.
fn alone(get: impl Fn(u16) -> String + Send + Sync + 'static) -> FakeRedis {
    let fake = FakeRedis::start(|_| FakeReply::Usual).expect("a port");
    let port = fake.address().port();
    fake.say(move |command| match command[0].as_slice() {
        b"CLUSTER" => FakeReply::line(&format!(
            "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:{port}"
        )),
        b"GET" => FakeReply::line(&get(port)),
        _ => FakeReply::Usual,
    });
    fake
}

#[tokio::test]
async fn servers_that_point_at_each_other_are_left_after_one_step() {
    let gets = |fake: &FakeRedis| patient(Redis::cluster(&[&fake.url()]));
    let around = alone(|port| format!("-MOVED 1 127.0.0.1:{port}"));
    let redis = gets(&around);
    assert_eq!(redis.run(&get("a")).await, Err(Fault::Moved));
    let many = redis.run_many(vec![get("a"); 2]).await;
    assert_eq!(many, [Err(Fault::Moved), Err(Fault::Moved)]);
    let around = alone(|port| format!("-ASK 1 127.0.0.1:{port}"));
    assert_eq!(gets(&around).run(&get("a")).await, Err(Fault::Moved));
    // A server without a host means its own; without a port, none.
    for (to, expected) in [(":1", "unreachable"), ("nowhere", "moved"), ("", "moved")] {
        let around = alone(move |_| format!("-MOVED 1 {to}"));
        let fault = gets(&around).run(&get("a")).await.expect_err("elsewhere");
        let got = match fault {
            Fault::Unreachable(_) => "unreachable",
            Fault::Moved => "moved",
            other => panic!("{other:?}"),
        };
        assert_eq!(got, expected, "{to}");
    }
}

#[tokio::test]
async fn a_map_that_is_none_and_slots_that_nobody_has_are_told() {
    let none = FakeRedis::start(|command| match command[0].as_slice() {
        b"CLUSTER" => FakeReply::line("*1\r\n:7"),
        _ => FakeReply::Usual,
    })
    .expect("a port");
    let redis = patient(Redis::cluster(&[&none.url()]));
    let fault = redis.run(&get("a")).await.expect_err("no map");
    assert!(matches!(fault, Fault::Garbage(_)), "{fault}");

    let empty = FakeRedis::start(|command| match command[0].as_slice() {
        b"CLUSTER" => FakeReply::line("*0"),
        _ => FakeReply::Usual,
    })
    .expect("a port");
    let redis = patient(Redis::cluster(&[&empty.url()]));
    assert_eq!(redis.run(&get("a")).await, Err(Fault::ClusterDown));
    let many = redis.run_many(vec![get("a"), get("b")]).await;
    assert_eq!(many, [Err(Fault::ClusterDown), Err(Fault::ClusterDown)]);
    let single = seawall_testkit::Redis::start().expect("redis-server");
    let redis = patient(Redis::cluster(&[&single.url()]));
    assert!(redis.run(&get("a")).await.is_err());
    assert!(Redis::cluster(&[]).is_err());
}
