//! What a fake server says, and what it is taken for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use seawall_testkit::{FakeRedis, FakeReply};

use super::*;

/// A fake that answers `GET` like this, and everything else as usual.
fn says(reply: FakeReply) -> FakeRedis {
    let says = move |command: &[Vec<u8>]| match command[0].as_slice() {
        b"GET" => reply.clone(),
        _ => FakeReply::Usual,
    };
    FakeRedis::start(says).expect("a port")
}

/// An answer that stops.
fn half() -> FakeReply {
    FakeReply::Says(b"$100\r\nabc".to_vec())
}

async fn fault_of(reply: FakeReply) -> Fault {
    let reply_is_whole = reply != FakeReply::Silence && reply != half();
    let fake = says(reply);
    let limit = match reply_is_whole {
        true => Duration::from_secs(10),
        false => Duration::from_secs(1),
    };
    let redis = Redis::single(&fake.url()).expect("a URL").timeout(limit);
    let fault = soon(redis.run(&get("a"))).await.expect_err("a fault");
    // Sent once, whatever came of it.
    assert_eq!(fake.commands(), 1, "{fault}");
    fault
}

#[tokio::test]
async fn what_a_server_says_is_typed() {
    let line = FakeReply::line;
    for (reply, expected, outage) in [
        (line("-LOADING Redis is loading"), Fault::Loading, true),
        (line("-READONLY You can't write"), Fault::ReadOnly, true),
        (line("-OOM command not allowed"), Fault::OutOfMemory, false),
        (line("-MOVED 15495 127.0.0.1:1"), Fault::Moved, false),
        (line("-ASK 15495 127.0.0.1:1"), Fault::Moved, false),
        (
            line("-CLUSTERDOWN Hash slot not served"),
            Fault::ClusterDown,
            true,
        ),
        (line("-BUSY running a script"), Fault::Busy, true),
        (FakeReply::Silence, Fault::TimedOut, true),
        (half(), Fault::TimedOut, true),
    ] {
        let fault = fault_of(reply).await;
        assert_eq!(fault, expected);
        assert_eq!(fault.is_outage(), outage, "{fault}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_answer() {
    for bytes in ["", "$3\r\na"] {
        let fault = fault_of(FakeReply::Closes(bytes.into())).await;
        assert!(matches!(fault, Fault::Unreachable(_)), "{fault}");
        assert!(fault.is_outage());
    }
}

#[tokio::test]
async fn garbage_is_told_and_the_connection_made_anew() {
    for bytes in [
        "\0\u{1}\u{2}\r\n",
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "$x\r\n",
    ] {
        let fault = fault_of(FakeReply::Says(bytes.into())).await;
        assert!(matches!(fault, Fault::Garbage(_)), "{bytes:?}: {fault:?}");
        assert!(fault.is_outage());
    }
    let fake = says(FakeReply::Says(b"garbage\r\n".into()));
    let redis = patient(Redis::single(&fake.url()));
    redis.run(&get("a")).await.expect_err("garbage");
    fake.say(|_| FakeReply::Usual);
    assert_eq!(eventually(&redis, &get("a")).await, Value::Okay);
    assert_eq!(fake.connections(), 2);
}

#[tokio::test]
async fn nobody_there_is_told_at_once_and_again_without_trying() {
    let port = seawall_testkit::free_port().expect("a port");
    let redis = patient(Redis::single(&format!("redis://127.0.0.1:{port}")));
    let fault = soon(redis.run(&get("a"))).await.expect_err("nobody");
    assert!(
        matches!(&fault, Fault::Unreachable(text) if text.contains("refused")),
        "{fault}"
    );
    // While no attempt is due, the same.
    for _ in 0..100 {
        assert_eq!(redis.run(&get("a")).await, Err(fault.clone()));
    }
}

#[tokio::test]
async fn a_server_that_takes_every_connection_and_then_breaks_it_is_not_dialled_without_end() {
    let fake = says(FakeReply::Closes(Vec::new()));
    let redis = patient(Redis::single(&fake.url()));
    for _ in 0..1_000 {
        redis.run(&get("a")).await.expect_err("closed");
    }
    // Tens of milliseconds apart at the least, and growing; in whatever time a thousand took.
    assert!(fake.connections() < 200, "{}", fake.connections());
}

#[tokio::test]
async fn one_of_many_that_fails_fails_alone() {
    let fake = FakeRedis::start(|command| match command.get(1).map(Vec::as_slice) {
        Some(b"bad") => FakeReply::line("-OOM command not allowed"),
        _ => FakeReply::Usual,
    });
    let redis = patient(Redis::single(&fake.expect("a port").url()));
    // The fake has ended with the statement: nobody there.
    let gone = redis.run_many(vec![get("a"), get("b")]).await;
    assert!(
        gone.iter()
            .all(|one| matches!(one, Err(Fault::Unreachable(_))))
    );

    let fake = FakeRedis::start(|command| match command.get(1).map(Vec::as_slice) {
        Some(b"bad") => FakeReply::line("-OOM command not allowed"),
        _ => FakeReply::Usual,
    })
    .expect("a port");
    let redis = patient(Redis::single(&fake.url()));
    let many = redis.run_many(vec![get("a"), get("bad"), get("b")]).await;
    assert_eq!(
        many,
        [Ok(Value::Okay), Err(Fault::OutOfMemory), Ok(Value::Okay)]
    );
}

#[tokio::test]
async fn a_script_that_vanishes_again_is_a_fault_and_no_loop() {
    let fake = FakeRedis::start(|command| match command[0].as_slice() {
        b"EVALSHA" | b"EVAL" => FakeReply::line("-NOSCRIPT No matching script."),
        _ => FakeReply::Usual,
    })
    .expect("a port");
    let redis = patient(Redis::single(&fake.url()));
    let script = Script::new("return 1");
    let fault = redis.call(&script, &[b"k"], &[]).await.expect_err("gone");
    assert!(matches!(fault, Fault::Unexpected(_)), "{fault}");
    assert_eq!(fake.commands(), 2);
    let call = Call {
        keys: &[b"k"],
        args: &[],
    };
    let many = redis.call_many(&script, &[call; 3]).await;
    assert!(
        many.iter()
            .all(|one| matches!(one, Err(Fault::Unexpected(_))))
    );
    assert_eq!(fake.commands(), 8);
}

#[tokio::test]
async fn secrets_stay_secret() {
    // What some servers quote when they do not know a command.
    let fake = FakeRedis::start(|command| match command[0].as_slice() {
        b"HELLO" => {
            let quoted: Vec<_> = command
                .iter()
                .map(|arg| String::from_utf8_lossy(arg))
                .collect();
            FakeReply::line(&format!(
                "-ERR unknown command, with args {}",
                quoted.join(" ")
            ))
        }
        _ => FakeReply::Usual,
    })
    .expect("a port");
    let url = format!("redis://somebody:hunter2@{}", fake.address());
    let redis = patient(Redis::single(&url));
    let fault = redis.run(&get("a")).await.expect_err("refused");
    let sentinel = Redis::sentinel(&[&url], "redis://:hunter2@main").expect("URLs");
    let cluster = Redis::cluster(&[&url]).expect("URLs");
    let bad = Redis::single("redis://:hunter2@[::1").expect_err("no URL");
    let database = Redis::cluster(&["redis://:hunter2@h/3"]).expect_err("a database");
    let shown =
        format!("{redis:?} {fault:?} {fault} {sentinel:?} {cluster:?} {bad:?} {bad} {database}");
    assert!(
        !shown.contains("hunter2") && !shown.contains("somebody"),
        "{shown}"
    );
    assert!(shown.contains("main by 127.0.0.1:"), "{shown}");
}

#[tokio::test]
async fn a_wrong_password_is_denied() {
    let server = seawall_testkit::Redis::start().expect("redis-server");
    server
        .ask(&["CONFIG", "SET", "requirepass", "right"])
        .expect("set");
    for (url, expected) in [
        (server.url(), "NOAUTH"),
        (server.url().replace("//", "//:wrong@"), "WRONGPASS"),
    ] {
        let redis = patient(Redis::single(&url));
        let fault = redis.run(&get("a")).await.expect_err("denied");
        let Fault::Denied(text) = &fault else {
            panic!("{fault:?}");
        };
        assert!(
            text.contains(expected) || text.contains("authentication"),
            "{text}"
        );
    }
    let redis = patient(Redis::single(&server.url().replace("//", "//:right@")));
    assert_eq!(redis.run(&get("a")).await, Ok(Value::Nil));
}

#[tokio::test]
async fn many_wait_for_one_connection() {
    let fake = says(FakeReply::line("+here"));
    let redis = patient(Redis::single(&fake.url()));
    let a = get("a");
    let all = futures_util::future::join_all((0..200).map(|_| redis.run(&a))).await;
    assert!(
        all.iter()
            .all(|one| *one == Ok(Value::SimpleString("here".into()))),
        "{all:?}"
    );
    assert_eq!(fake.connections(), 1);
}

#[tokio::test]
async fn a_peer_that_went_without_a_word_is_given_up() {
    let asked = Arc::new(AtomicUsize::new(0));
    let seen = asked.clone();
    // The first connection's commands are never answered, as where a host lost its power.
    let fake = FakeRedis::start(move |command| match command[0].as_slice() {
        b"GET" if seen.fetch_add(1, SeqCst) < 3 => FakeReply::Silence,
        _ => FakeReply::Usual,
    })
    .expect("a port");
    let redis = Redis::single(&fake.url())
        .expect("a URL")
        .timeout(Duration::from_millis(20))
        .connect_timeout(Duration::from_millis(30));
    for _ in 0..3 {
        assert_eq!(redis.run(&get("a")).await, Err(Fault::TimedOut));
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    assert_eq!(eventually(&redis, &get("a")).await, Value::Okay);
    assert!(fake.connections() >= 2);
    assert!(asked.load(SeqCst) >= 3);
}
