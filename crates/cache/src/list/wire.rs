//! Questions as arguments of the script, and its answers as they come back.

use std::time::Duration;

use bytes::Bytes;
use redis::Value;

use super::ask::{
    Counted, Ended, Filled, LEASES, LOG, LONGEST, Moved, PENDING, Paged, Ranked, SPANS, Terms,
    View, millis,
};
use super::position::{Order, Position, Score};
use crate::store::Token;

/// The script, with the bounds that it shares with the index.
pub(super) fn code() -> String {
    include_str!("list.lua")
        .replace("@LEASES@", &LEASES.to_string())
        .replace("@LOG@", &LOG.to_string())
        .replace("@PENDING@", &PENDING.to_string())
        .replace("@SPANS@", &SPANS.to_string())
        .replace("@LONGEST@", &millis(LONGEST).to_string())
}

/// The arguments of a call.
#[derive(Debug)]
pub(super) struct Args(Vec<Vec<u8>>);

impl Args {
    /// `now`: instead of Redis' own clock, for tests. Who waits is told `notice` on `channel`.
    pub(super) fn new(
        what: &str,
        terms: &Terms,
        now: Option<u64>,
        channel: &[u8],
        notice: &[u8],
    ) -> Self {
        let order = match terms.order {
            Order::Descending => "d",
            Order::Ascending => "a",
        };
        Self(vec![
            what.into(),
            now.map_or_else(Vec::new, |now| now.to_string().into()),
            order.into(),
            terms.bound.to_string().into(),
            millis(terms.lease).to_string().into(),
            millis(terms.fence).to_string().into(),
            millis(terms.life).to_string().into(),
            channel.into(),
            notice.into(),
        ])
    }

    pub(super) fn bytes(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.0.push(bytes.into());
        self
    }

    pub(super) fn number(self, number: impl ToString) -> Self {
        self.bytes(number.to_string())
    }

    pub(super) fn token(self, token: Token) -> Self {
        self.bytes(token.0.to_be_bytes())
    }

    /// Nothing for the head.
    pub(super) fn position(self, position: Option<&Position>) -> Self {
        match position {
            None => self.bytes("").bytes(""),
            Some(at) => self.number(at.score.get()).bytes(&at.member[..]),
        }
    }

    pub(super) fn moved(self, moved: &Moved) -> Self {
        let score = moved.to.map_or_else(String::new, |to| to.get().to_string());
        self.bytes(&moved.member[..]).bytes(score)
    }

    pub(super) fn ended(self, ended: Ended) -> Self {
        match ended {
            Ended::Done(more) => self.number(more),
            Ended::Nothing => self.bytes("nothing"),
            Ended::Unknown => self.bytes("unknown"),
        }
    }

    pub(super) fn items(self, items: &[Position]) -> Self {
        items
            .iter()
            .fold(self, |args, item| args.position(Some(item)))
    }

    pub(super) fn slices(&self) -> Vec<&[u8]> {
        self.0.iter().map(Vec::as_slice).collect()
    }
}

/// `None`: no answer of this script.
pub(super) fn paged(value: &Value) -> Option<Paged> {
    let (state, left, view) = view(value)?;
    match state {
        b"hit" => Some(Paged::Hit(view)),
        b"granted" => Some(Paged::Granted(view)),
        b"alone" => Some(Paged::Alone(view)),
        b"busy" => Some(Paged::Busy(left)),
        _ => None,
    }
}

pub(super) fn filled(value: &Value) -> Option<Filled> {
    let (state, _, view) = view(value)?;
    let kept = state == b"kept";
    (kept || state == b"refused").then_some(Filled { kept, view })
}

pub(super) fn counted(value: &Value) -> Option<Counted> {
    let Value::Array(parts) = value else {
        return None;
    };
    let [state, number] = parts.as_slice() else {
        return None;
    };
    let number = u64::try_from(integer(number)?).ok()?;
    match bytes(state)? {
        b"known" => Some(Counted::Known(number)),
        b"granted" => Some(Counted::Granted),
        b"alone" => Some(Counted::Alone),
        b"busy" => Some(Counted::Busy(Duration::from_millis(number))),
        _ => None,
    }
}

pub(super) fn ranked(value: &Value) -> Option<Ranked> {
    match integer(value)? {
        -1 => Some(Ranked::Absent),
        -2 => Some(Ranked::Unknown),
        rank => Some(Ranked::Known(u64::try_from(rank).ok()?)),
    }
}

fn view(value: &Value) -> Option<(&[u8], Duration, View)> {
    let Value::Array(parts) = value else {
        return None;
    };
    let [state, left, whole, end, score, member, items] = parts.as_slice() else {
        return None;
    };
    let Value::Array(items) = items else {
        return None;
    };
    let from = if bytes(score)?.is_empty() {
        None
    } else {
        Some(position(score, member)?)
    };
    let view = View {
        items: items
            .chunks_exact(2)
            .map(|pair| position(&pair[1], &pair[0]))
            .collect::<Option<_>>()?,
        whole: integer(whole)? == 1,
        end: integer(end)? == 1,
        from,
    };
    let left = Duration::from_millis(u64::try_from(integer(left)?).ok()?);
    Some((bytes(state)?, left, view))
}

fn position(score: &Value, member: &Value) -> Option<Position> {
    Some(Position {
        score: Score::try_from(integer(score)?).ok()?,
        member: Bytes::copy_from_slice(bytes(member)?),
    })
}

fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        value => std::str::from_utf8(bytes(value)?).ok()?.parse().ok(),
    }
}
