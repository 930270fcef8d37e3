use seawall_testkit::Redis as Server;

use super::*;

#[tokio::test]
async fn commands_and_scripts_run() {
    let server = Server::start().expect("redis-server");
    let redis = Redis::single(&server.url()).expect("a URL");
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
