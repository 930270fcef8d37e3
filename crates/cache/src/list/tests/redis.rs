//! The script and the index, step by step: the same answers.

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use redis::{Connection, Value};

use super::steps::{Step, steps, terms};
use crate::list::ask::Terms;
use crate::list::index::Index;
use crate::list::position::{Order, Position};
use crate::list::wire::{self, Args};
use crate::store::Token;

/// Far in the future, so that no key expires by Redis' own clock.
const BEGIN: u64 = 4_000_000_000_000;

struct Both {
    script: redis::Script,
    index: Index,
    terms: Terms,
    now: u64,
}

impl Both {
    fn new(terms: Terms) -> Self {
        Self {
            script: redis::Script::new(&wire::code()),
            index: Index::new(terms),
            terms,
            now: BEGIN,
        }
    }

    fn call(&self, redis: &mut Connection, what: &str, with: impl FnOnce(Args) -> Args) -> Value {
        let args = with(Args::new(
            what,
            &self.terms,
            Some(self.now),
            b"channel",
            b"notice",
        ));
        let mut call = self.script.key("{list}z");
        call.key("{list}h");
        for arg in args.slices() {
            call.arg(arg);
        }
        call.invoke(redis).unwrap()
    }

    /// The answers of both as text.
    fn step(&mut self, redis: &mut Connection, step: &Step) -> (String, String) {
        let now = self.now;
        match step {
            Step::Page(token, after, limit) => {
                let value = self.call(redis, "page", |args| {
                    args.token(Token(*token))
                        .position(after.as_ref())
                        .number(limit)
                });
                let model = self.index.page(now, Token(*token), after.as_ref(), *limit);
                (text(&model), text(&wire::paged(&value).unwrap()))
            }
            Step::Fill(token, items, end, after, limit) => {
                let value = self.call(redis, "fill", |args| {
                    args.token(Token(*token))
                        .number(u8::from(*end))
                        .position(after.as_ref())
                        .number(limit)
                        .items(items)
                });
                let after = after.as_ref();
                let (model, _) = self
                    .index
                    .fill(now, Token(*token), items, *end, after, *limit);
                (text(&model), text(&wire::filled(&value).unwrap()))
            }
            Step::Release(token) => {
                self.call(redis, "release", |args| args.token(Token(*token)));
                self.index.release(now, Token(*token));
                Default::default()
            }
            Step::Count(token) => {
                let value = self.call(redis, "count", |args| args.token(Token(*token)));
                let model = self.index.count(now, Token(*token));
                (text(&model), text(&wire::counted(&value).unwrap()))
            }
            Step::FillCount(token, count) => {
                let value = self.call(redis, "counted", |args| {
                    args.token(Token(*token)).number(count)
                });
                let (kept, _) = self.index.fill_count(now, Token(*token), *count);
                (text(&kept), text(&(value == Value::Int(1))))
            }
            Step::Rank(member) => {
                let value = self.call(redis, "rank", |args| args.bytes(&member[..]));
                let model = self.index.rank(now, member);
                (text(&model), text(&wire::ranked(&value).unwrap()))
            }
            Step::Change(moved) => {
                self.call(redis, "change", |args| args.moved(moved));
                self.index.change(now, moved.clone());
                Default::default()
            }
            Step::Begin(token, moved) => {
                self.call(redis, "begin", |args| {
                    args.token(Token(*token)).moved(moved)
                });
                self.index.begin(now, Token(*token), moved.clone());
                Default::default()
            }
            Step::Settle(token, moved, ended) => {
                self.call(redis, "settle", |args| {
                    args.token(Token(*token)).moved(moved).ended(*ended)
                });
                self.index.settle(now, Token(*token), moved.clone(), *ended);
                Default::default()
            }
            Step::Invalidate => {
                self.call(redis, "invalidate", |args| args);
                self.index.invalidate(now);
                Default::default()
            }
            Step::Pass(time) => {
                self.now += time;
                Default::default()
            }
        }
    }

    /// Steps that ask after everything, so that what differs inside is seen.
    fn look(&mut self, redis: &mut Connection, from: &[Position]) -> (String, String) {
        let mut seen = (String::new(), String::new());
        for after in std::iter::once(None).chain(from.iter().take(5).cloned().map(Some)) {
            let step = Step::Fill(999, vec![], false, after, 100);
            let (model, real) = self.step(redis, &step);
            seen.0 += &model;
            seen.1 += &real;
        }
        seen
    }
}

fn text(answer: &impl std::fmt::Debug) -> String {
    format!("{answer:?}\n")
}

fn every_position(steps: &[Step]) -> Vec<Position> {
    steps
        .iter()
        .filter_map(|step| match step {
            Step::Fill(_, items, ..) => Some(items.clone()),
            Step::Page(_, Some(after), _) => Some(vec![after.clone()]),
            _ => None,
        })
        .flatten()
        .collect()
}

#[test]
fn the_script_answers_as_the_index_does() {
    let server = seawall_testkit::Redis::start().unwrap();
    let client = redis::Client::open(server.url()).unwrap();
    let redis = RefCell::new(client.get_connection().unwrap());
    for order in [Order::Descending, Order::Ascending] {
        let mut runner = TestRunner::new(Config {
            cases: 60,
            ..Config::default()
        });
        runner
            .run(&steps(order), |steps| {
                let redis = &mut *redis.borrow_mut();
                let _: () = redis::cmd("FLUSHALL").query(redis).unwrap();
                let mut both = Both::new(terms(order));
                let positions = every_position(&steps);
                for step in &steps {
                    let (model, real) = both.step(redis, step);
                    prop_assert_eq!(model, real, "{:?}", step);
                    let (model, real) = both.look(redis, &positions);
                    prop_assert_eq!(model, real, "after {:?}", step);
                }
                Ok(())
            })
            .unwrap();
    }
}
