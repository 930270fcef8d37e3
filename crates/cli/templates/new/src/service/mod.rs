//! From messages to the business and back: what is asked becomes objects of `biz`, what comes of it
//! becomes messages and errors of the definition. Decides nothing.

pub mod notes;

use std::time::SystemTime;

use seawall::api::types::Timestamp;

/// A time as messages have it; before 1970 is none.
fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let since = since.unwrap_or_default();
    Timestamp {
        seconds: since.as_secs().try_into().unwrap_or(i64::MAX),
        nanos: since.subsec_nanos().try_into().unwrap_or(0),
    }
}
