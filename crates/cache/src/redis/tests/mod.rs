//! On real servers, and on a fake one that answers what a test says.

mod single;

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
