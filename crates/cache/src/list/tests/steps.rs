//! Random steps that may befall a list.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use crate::list::ask::{Ended, Moved, Terms};
use crate::list::position::{Order, Position, Score};

/// What a step may be. Tokens are small numbers, so that they meet again.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Page(u64, Option<Position>, usize),
    /// Token, how many items from where the lease begins, whether they are the last.
    Fill(u64, Vec<Position>, bool, Option<Position>, usize),
    Release(u64),
    Count(u64),
    FillCount(u64, u64),
    Rank(Bytes),
    Change(Moved),
    Begin(u64, Moved),
    Settle(u64, Moved, Ended),
    Invalidate,
    Pass(u64),
}

pub(super) fn terms(order: Order) -> Terms {
    Terms {
        order,
        bound: 9,
        lease: Duration::from_millis(50),
        fence: Duration::from_millis(80),
        life: Duration::from_millis(400),
    }
}

pub(super) fn at(score: i64, member: &str) -> Position {
    Position {
        score: Score::try_from(score).unwrap(),
        member: Bytes::copy_from_slice(member.as_bytes()),
    }
}

pub(super) fn moved(member: &str, score: Option<i64>) -> Moved {
    Moved {
        member: Bytes::copy_from_slice(member.as_bytes()),
        to: score.map(|score| Score::try_from(score).unwrap()),
    }
}

/// Members that other orders than that of bytes would sort otherwise, or break at.
pub(super) const MEMBERS: [&[u8]; 12] = [
    b"a",
    b"B",
    b"b",
    b"_",
    b"\0",
    b"\xff\xfe",
    b"aa",
    b"a\0",
    b"",
    b"\xc3\xa4",
    b"9",
    b"10",
];

fn member() -> impl Strategy<Value = Bytes> {
    // Some of them often, so that they meet.
    prop_oneof![0..3_usize, 0..MEMBERS.len()].prop_map(|at| Bytes::from_static(MEMBERS[at]))
}

fn score() -> impl Strategy<Value = Score> {
    let far = (1_i64 << 53) - 1;
    prop_oneof![
        20 => 0_i64..5,
        1 => Just(-(1_i64 << 53)),
        1 => Just(far),
        1 => Just(far + 1),
    ]
    .prop_map(|score| Score::try_from(score).unwrap())
}

fn position() -> impl Strategy<Value = Position> {
    (score(), member()).prop_map(|(score, member)| Position { score, member })
}

fn change() -> impl Strategy<Value = Moved> {
    (member(), proptest::option::weighted(0.7, score()))
        .prop_map(|(member, to)| Moved { member, to })
}

fn ended() -> impl Strategy<Value = Ended> {
    prop_oneof![
        (-1_i8..=1).prop_map(Ended::Done),
        Just(Ended::Nothing),
        Just(Ended::Unknown),
    ]
}

pub(super) fn steps(order: Order) -> impl Strategy<Value = Vec<Step>> {
    let after = || proptest::option::of(position());
    let token = || 0_u64..4;
    let items = proptest::collection::vec(position(), 0..6).prop_map(move |mut items| {
        items.sort_by(|a, b| order.compare(a, b));
        items.dedup();
        items
    });
    let step = prop_oneof![
        4 => (token(), after(), 1_usize..5).prop_map(|(a, b, c)| Step::Page(a, b, c)),
        6 => (token(), items, any::<bool>(), after(), 1_usize..5)
            .prop_map(|(a, b, c, d, e)| Step::Fill(a, b, c, d, e)),
        1 => token().prop_map(Step::Release),
        2 => token().prop_map(Step::Count),
        2 => (token(), 0_u64..9).prop_map(|(a, b)| Step::FillCount(a, b)),
        2 => member().prop_map(Step::Rank),
        4 => change().prop_map(Step::Change),
        5 => (token(), change()).prop_map(|(a, b)| Step::Begin(a, b)),
        6 => (token(), change(), ended()).prop_map(|(a, b, c)| Step::Settle(a, b, c)),
        1 => Just(Step::Invalidate),
        2 => (1_u64..60).prop_map(Step::Pass),
        1 => Just(Step::Pass(500)),
    ];
    proptest::collection::vec(step, 1..60)
}
