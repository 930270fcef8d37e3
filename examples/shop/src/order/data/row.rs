//! How rows say what the business has words for.

use crate::order::biz::{Error, Status, What};

pub(super) fn number_of(status: Status) -> i64 {
    match status {
        Status::Unpaid => 0,
        Status::Paid => 1,
        Status::Expired => 2,
    }
}

pub(super) fn status_of(number: i64) -> Result<Status, Error> {
    match number {
        0 => Ok(Status::Unpaid),
        1 => Ok(Status::Paid),
        2 => Ok(Status::Expired),
        _ => Err(Error::store(format!("no status: {number}"))),
    }
}

pub(super) fn number_of_what(what: What) -> i64 {
    match what {
        What::Placed => 0,
        What::Paid => 1,
        What::Expired => 2,
    }
}

pub(super) fn what_of(number: i64) -> Result<What, Error> {
    match number {
        0 => Ok(What::Placed),
        1 => Ok(What::Paid),
        2 => Ok(What::Expired),
        _ => Err(Error::store(format!("no event: {number}"))),
    }
}
