//! How rows say what the business has words for.

use crate::notify::biz::{Error, Kind, State};

pub(super) fn number_of(kind: Kind) -> i64 {
    match kind {
        Kind::Reminder => 0,
        Kind::Receipt => 1,
        Kind::Expiry => 2,
    }
}

pub(super) fn kind_of(number: i64) -> Result<Kind, Error> {
    match number {
        0 => Ok(Kind::Reminder),
        1 => Ok(Kind::Receipt),
        2 => Ok(Kind::Expiry),
        _ => Err(Error::store(format!("no kind of notice: {number}"))),
    }
}

pub(super) fn number_of_state(state: State) -> i64 {
    match state {
        State::Due => 0,
        State::Sent => 1,
        State::Cancelled => 2,
        State::Failed => 3,
    }
}

pub(super) fn state_of(number: i64) -> Result<State, Error> {
    match number {
        0 => Ok(State::Due),
        1 => Ok(State::Sent),
        2 => Ok(State::Cancelled),
        3 => Ok(State::Failed),
        _ => Err(Error::store(format!("no state of a notice: {number}"))),
    }
}
