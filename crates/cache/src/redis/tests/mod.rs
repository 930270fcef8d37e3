//! On real servers, and on a fake one that answers what a test says.

mod cluster;
mod faults;
mod sentinel;
mod single;

use std::time::Duration;

use redis::{Cmd, Value, cmd};

use super::{Call, Fault, Redis, Script};

fn set(key: &str, value: &str) -> Cmd {
    let mut set = cmd("SET");
    set.arg(key).arg(value);
    set
}

fn get(key: &str) -> Cmd {
    let mut get = cmd("GET");
    get.arg(key);
    get
}

fn bulk(text: &str) -> Value {
    Value::BulkString(text.as_bytes().to_vec())
}

/// With time for an answer on a machine that has other work to do: where one is to come.
fn patient(redis: Result<Redis, Fault>) -> Redis {
    let long = Duration::from_secs(10);
    redis.expect("URLs").timeout(long).connect_timeout(long)
}

/// Asks until it is answered, which is to happen by itself; for half a minute at most.
async fn eventually(redis: &Redis, cmd: &Cmd) -> Value {
    for _ in 0..3_000 {
        if let Ok(value) = redis.run(cmd).await {
            return value;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it does not come back: {:?}", redis.run(cmd).await);
}

/// Whatever it does must end by itself long before this.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(Duration::from_secs(20), what).await;
    ended.expect("within its limit")
}
