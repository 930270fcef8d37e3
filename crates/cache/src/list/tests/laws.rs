//! Every interleaving of a few that read, load, write, die and invalidate; a database beside it.
//!
//! The law: *what is known is what the database has*. For every cursor, what the index says comes
//! after it, up to where it says that it knows, is what the database has there, but for members
//! whose write has been committed and not yet been told. It holds after every step, so whoever pages
//! by cursors sees exactly once what was there all along, and nothing whose removal was told before.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::steps::{at, moved};
use crate::list::ask::{Counted, Ended, Moved, Paged, Terms};
use crate::list::index::Index;
use crate::list::position::{Order, Position, Score};
use crate::store::Token;

const LEASE: u64 = 50;
const FENCE: u64 = 80;

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Who {
    /// Asks for a page of two after this, reads it and one more from the database, fills it in.
    Reader(Option<(i64, &'static str)>),
    /// Asks for the count, reads it, fills it in.
    Counter,
    /// Commits and tells.
    Plain(&'static str, Option<i64>),
    /// Begins, commits and tells.
    Fenced(&'static str, Option<i64>),
    /// Begins, commits and is never heard of again.
    Dies(&'static str, Option<i64>),
    /// Time passes.
    Clock(u64),
    Invalidates,
}

impl Who {
    fn steps(self) -> usize {
        match self {
            Self::Reader(_) | Self::Counter | Self::Fenced(..) => 3,
            Self::Plain(..) | Self::Dies(..) => 2,
            Self::Clock(_) | Self::Invalidates => 1,
        }
    }
}

#[derive(Clone, Default)]
struct Actor {
    done: usize,
    from: Option<Option<Position>>,
    counting: bool,
    read: Vec<Position>,
    end: bool,
    count: u64,
    more: i8,
}

#[derive(Clone)]
struct World {
    index: Index,
    order: Order,
    database: BTreeMap<Bytes, Score>,
    now: u64,
    actors: Vec<Actor>,
    /// Members whose write is committed and not told, once for each write.
    told_late: Vec<Bytes>,
    /// When what died is given up.
    dead: Vec<(u64, Bytes)>,
}

impl World {
    fn new(order: Order, actors: usize) -> Self {
        let terms = Terms {
            order,
            bound: 4,
            lease: Duration::from_millis(LEASE),
            fence: Duration::from_millis(FENCE),
            life: Duration::from_millis(200),
        };
        let items = [at(1, "a"), at(2, "b"), at(2, "c"), at(4, "d")];
        Self {
            index: Index::new(terms),
            order,
            database: items
                .into_iter()
                .map(|item| (item.member, item.score))
                .collect(),
            now: 1_000,
            actors: vec![Actor::default(); actors],
            told_late: Vec::new(),
            dead: Vec::new(),
        }
    }

    fn rows(&self) -> Vec<Position> {
        let mut rows: Vec<_> = self
            .database
            .iter()
            .map(|(member, score)| Position {
                member: member.clone(),
                score: *score,
            })
            .collect();
        rows.sort_by(|a, b| self.order.compare(a, b));
        rows
    }

    fn read(&self, from: Option<&Position>, limit: usize) -> (Vec<Position>, bool) {
        let mut rows = self.rows();
        rows.retain(|row| self.order.behind(row, from));
        let end = rows.len() < limit;
        rows.truncate(limit);
        (rows, end)
    }

    fn warm(&mut self, limit: usize) {
        let (items, end) = self.read(None, limit);
        let token = Token(900);
        assert!(matches!(
            self.index.page(self.now, token, None, limit),
            Paged::Granted(_)
        ));
        let (filled, _) = self.index.fill(self.now, token, &items, end, None, limit);
        assert!(filled.kept);
    }

    fn commit(&mut self, at: usize, moved: &Moved) {
        let before = self.database.len();
        match moved.to {
            Some(score) => self.database.insert(moved.member.clone(), score),
            None => self.database.remove(&moved.member),
        };
        let more = self.database.len().cast_signed() - before.cast_signed();
        self.actors[at].more = i8::try_from(more).unwrap();
        self.told_late.push(moved.member.clone());
    }

    fn told(&mut self, moved: &Moved) {
        let one = self
            .told_late
            .iter()
            .position(|member| *member == moved.member);
        self.told_late.remove(one.unwrap());
    }

    fn step(&mut self, number: usize, who: Who) {
        let (now, token) = (self.now, Token(number as u64));
        let step = self.actors[number].done;
        self.actors[number].done += 1;
        match (who, step) {
            (Who::Reader(after), 0) => {
                let after = after.map(|(score, member)| at(score, member));
                if let Paged::Granted(view) = self.index.page(now, token, after.as_ref(), 2) {
                    self.actors[number].from = Some(view.from);
                }
            }
            (Who::Reader(_), 1) => {
                if let Some(from) = self.actors[number].from.clone() {
                    (self.actors[number].read, self.actors[number].end) =
                        self.read(from.as_ref(), 3);
                }
            }
            (Who::Reader(_), _) => {
                let Actor {
                    read, end, from, ..
                } = self.actors[number].clone();
                if from.is_some() {
                    self.index.fill(now, token, &read, end, None, 2);
                }
            }
            (Who::Counter, 0) => {
                self.actors[number].counting = self.index.count(now, token) == Counted::Granted;
            }
            (Who::Counter, 1) => self.actors[number].count = self.database.len() as u64,
            (Who::Counter, _) => {
                if self.actors[number].counting {
                    self.index.fill_count(now, token, self.actors[number].count);
                }
            }
            (Who::Plain(member, to), 0) => self.commit(number, &moved(member, to)),
            (Who::Plain(member, to), _) => {
                self.index.change(now, moved(member, to));
                self.told(&moved(member, to));
            }
            (Who::Fenced(member, to) | Who::Dies(member, to), 0) => {
                self.index.begin(now, token, moved(member, to));
            }
            (Who::Fenced(member, to), 1) => self.commit(number, &moved(member, to)),
            (Who::Fenced(member, to), _) => {
                let ended = Ended::Done(self.actors[number].more);
                self.index.settle(now, token, moved(member, to), ended);
                self.told(&moved(member, to));
            }
            (Who::Dies(member, to), _) => {
                self.commit(number, &moved(member, to));
                // It begun at the latest now.
                let given_up = now + FENCE;
                self.dead
                    .push((given_up, Bytes::from_static(member.as_bytes())));
            }
            (Who::Clock(time), _) => self.now += time,
            (Who::Invalidates, _) => self.index.invalidate(now),
        }
    }

    fn holds(&self) -> Result<(), String> {
        let mut index = self.index.clone();
        let mut late = self.told_late.clone();
        for (until, member) in &self.dead {
            if *until <= self.now
                && let Some(at) = late.iter().position(|one| one == member)
            {
                late.remove(at);
            }
        }
        let settled = |rows: Vec<Position>| -> Vec<Position> {
            rows.into_iter()
                .filter(|row| !late.contains(&row.member))
                .collect()
        };
        let cursors = [at(1, "a"), at(2, "b"), at(3, "b"), at(4, "d")];
        for after in std::iter::once(None).chain(cursors.iter().map(Some)) {
            let (filled, _) = index.fill(self.now, Token(999), &[], false, after, 100);
            let view = filled.view;
            if !view.whole && view.from.as_ref() == after {
                continue; // Nothing is known behind it.
            }
            let mut rows = self.rows();
            rows.retain(|row| {
                self.order.behind(row, after) && self.order.until(row, view.from.as_ref())
            });
            let (known, rows) = (settled(view.items), settled(rows));
            if known != rows {
                return Err(format!(
                    "after {after:?}: known {known:?}, there is {rows:?}"
                ));
            }
        }
        if late.is_empty()
            && let Counted::Known(count) = index.count(self.now, Token(999))
            && count != self.database.len() as u64
        {
            return Err(format!(
                "counted {count}, there are {}",
                self.database.len()
            ));
        }
        Ok(())
    }
}

/// All orders from here on; how many ends there are.
fn explore(world: &World, who: &[Who], path: &mut Vec<usize>) -> u64 {
    if let Err(broken) = world.holds() {
        panic!("{broken}\n{who:?} in the order {path:?}");
    }
    let mut ends = 0;
    for (number, one) in who.iter().enumerate() {
        if world.actors[number].done < one.steps() {
            let mut next = world.clone();
            next.step(number, *one);
            path.push(number);
            ends += explore(&next, who, path);
            path.pop();
        }
    }
    ends.max(1)
}

fn explore_all(who: &[Who], orders: &[Order]) -> u64 {
    let mut ends = 0;
    for &order in orders {
        for warm in [0, 2, 9] {
            let mut world = World::new(order, who.len());
            if warm > 0 {
                world.warm(warm);
            }
            ends += explore(&world, who, &mut Vec::new());
        }
    }
    ends
}

const BOTH: [Order; 2] = [Order::Descending, Order::Ascending];

const READERS: [Who; 3] = [Who::Reader(None), Who::Reader(Some((2, "b"))), Who::Counter];

const OTHERS: [Who; 12] = [
    Who::Reader(None),
    Who::Reader(Some((2, "c"))),
    Who::Counter,
    Who::Plain("n", Some(5)),
    Who::Plain("c", None),
    Who::Fenced("e", Some(2)),
    Who::Fenced("b", None),
    Who::Fenced("b", Some(3)),
    Who::Dies("b", Some(9)),
    Who::Clock(LEASE),
    Who::Clock(200),
    Who::Invalidates,
];

#[test]
fn what_is_known_is_true_whatever_comes_between() {
    let mut ends = 0;
    for reader in READERS {
        for (at, one) in OTHERS.iter().enumerate() {
            ends += explore_all(&[reader, *one], &[Order::Ascending]);
            for other in &OTHERS[at..] {
                let plain_twice = matches!(one, Who::Plain(..)) && one == other;
                if !plain_twice {
                    ends += explore_all(&[reader, *one, *other], &[Order::Descending]);
                }
            }
        }
    }
    assert!(ends > 150_000, "{ends}");
}

#[test]
fn two_writers_of_a_member_and_two_readers_leave_neither_hole_nor_ghost() {
    let (add, remove) = (Who::Fenced("n", Some(3)), Who::Fenced("n", None));
    let ends = explore_all(&[add, remove, Who::Reader(None)], &BOTH);
    let world = World::new(Order::Descending, 4);
    let readers = [Who::Reader(None), Who::Reader(Some((2, "c")))];
    let all = explore(
        &world,
        &[add, remove, readers[0], readers[1]],
        &mut Vec::new(),
    );
    assert_eq!((ends, all), (6 * 1_680, 369_600));
}

#[test]
#[should_panic(expected = "known")]
fn without_a_beginning_two_writers_of_a_member_may_leave_a_ghost() {
    // Why there is one: the law notices.
    let who = [Who::Plain("n", Some(3)), Who::Plain("n", None)];
    explore_all(&who, &BOTH);
}
