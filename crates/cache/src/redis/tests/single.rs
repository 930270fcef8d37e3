use seawall_testkit::Redis as Server;

use super::*;

#[tokio::test]
async fn commands_and_scripts_run() {
    let server = Server::start().expect("redis-server");
    let redis = patient(Redis::single(&server.url()));
    assert_eq!(redis.run(&set("a", "1")).await, Ok(Value::Okay));
    assert_eq!(redis.run(&get("a")).await, Ok(bulk("1")));
    let many = redis.run_many(vec![get("a"), cmd("NONE"), get("b")]).await;
    assert_eq!(many[0], Ok(bulk("1")));
    assert!(matches!(&many[1], Err(Fault::Unexpected(text)) if text.contains("NONE")));
    assert_eq!(many[2], Ok(Value::Nil));
    assert!(redis.run_many(Vec::new()).await.is_empty());

    // Binary-safe, and loaded when it is first asked for, also by many.
    let script = Script::new("return {KEYS[1], ARGV[1]}");
    let expected = Ok(Value::Array(vec![bulk("k \0"), bulk("\r\n")]));
    let (keys, args) = ([b"k \0".as_slice()], [b"\r\n".as_slice()]);
    assert_eq!(redis.call(&script, &keys, &args).await, expected);
    assert_eq!(redis.call(&script, &keys, &args).await, expected);
    redis
        .run(cmd("SCRIPT").arg("FLUSH"))
        .await
        .expect("flushed");
    let call = Call {
        keys: &keys,
        args: &args,
    };
    for answer in redis.call_many(&script, &[call; 3]).await {
        assert_eq!(answer, expected);
    }
}

#[tokio::test]
async fn killed_and_back_with_its_data_and_without() {
    let mut server = Server::start().expect("redis-server");
    let redis = patient(Redis::single(&server.url()));
    redis.run(&set("a", "1")).await.expect("set");
    for empty in [false, true] {
        server.kill();
        let fault = soon(redis.run(&get("a"))).await.expect_err("killed");
        assert!(fault.is_outage(), "{fault}");
        if empty {
            std::fs::remove_dir_all(server.directory().join("appendonlydir")).expect("its data");
        }
        server.restart().expect("redis-server");
        let expected = if empty { Value::Nil } else { bulk("1") };
        assert_eq!(eventually(&redis, &get("a")).await, expected);
    }
}

#[tokio::test]
async fn frozen_and_thawed() {
    let server = Server::start().expect("redis-server");
    let redis = Redis::single(&server.url()).expect("a URL");
    eventually(&redis, &set("a", "1")).await;
    server.freeze().expect("it runs");
    for _ in 0..15 {
        let fault = soon(redis.run(&get("a"))).await.expect_err("frozen");
        assert!(fault.is_outage(), "{fault}");
    }
    server.thaw().expect("it is stopped");
    assert_eq!(eventually(&redis, &get("a")).await, bulk("1"));
}

#[tokio::test]
async fn full_memory_refuses_writes_and_not_reads() {
    let server = Server::start().expect("redis-server");
    let redis = patient(Redis::single(&server.url()));
    redis.run(&set("a", "1")).await.expect("set");
    server.exhaust().expect("no memory");
    assert_eq!(redis.run(&set("b", "1")).await, Err(Fault::OutOfMemory));
    let write = Script::new("return redis.call('SET', KEYS[1], ARGV[1])");
    let written = redis.call(&write, &[b"b"], &[b"1"]).await;
    assert_eq!(written, Err(Fault::OutOfMemory));
    assert_eq!(redis.run(&get("a")).await, Ok(bulk("1")));
    server.relieve().expect("memory");
    assert_eq!(redis.run(&set("b", "1")).await, Ok(Value::Okay));
}

#[test]
fn a_runtime_that_ends_takes_no_connection_with_it() {
    let server = Server::start().expect("redis-server");
    let redis = patient(Redis::single(&server.url()));
    for _ in 0..3 {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(eventually(&redis, &get("a")));
    }
}
