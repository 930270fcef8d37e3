//! Flight under shuttle: the files of the core are compiled a second time, with shuttle's lock.
//!
//! Every schedule that shuttle tries must end (a lost wake-up is a deadlock, which it reports), run
//! the work once while anybody waits, and leave nothing in the table.

#![allow(clippy::duplicate_mod)]
#![allow(dead_code)]

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};

use shuttle::future::block_on;
use shuttle::thread;

use super::FlightError;
use crate::panics;

mod lock {
    pub(super) use crate::primitives::model::{Mutex, this_thread};
}
#[path = "table.rs"]
mod table;
#[path = "waiter.rs"]
mod waiter;
#[path = "work.rs"]
mod work;

type Outcome<V> = Result<V, FlightError>;

use table::Table;
use waiter::Waiter;
use work::Work;

const SCHEDULES: usize = 300;

type Keys = Arc<Table<u32, usize>>;

fn table() -> Keys {
    Arc::new(Table::new(1, 4, None))
}

/// Woken from another thread before it is ready.
fn work(runs: &Arc<AtomicUsize>) -> Work<usize> {
    let (runs, mut polled) = (runs.clone(), false);
    Work::new(Box::pin(poll_fn(move |cx| {
        if polled {
            return Poll::Ready(runs.fetch_add(1, Relaxed));
        }
        polled = true;
        let waker = cx.waker().clone();
        thread::spawn(move || waker.wake());
        Poll::Pending
    })))
}

#[test]
fn concurrent_callers_share_an_execution_and_all_return() {
    shuttle::check_random(
        || {
            let (keys, runs) = (table(), Arc::new(AtomicUsize::new(0)));
            let callers: Vec<_> = (0..3)
                .map(|_| {
                    let (keys, runs) = (keys.clone(), runs.clone());
                    thread::spawn(move || {
                        let (entry, _) = keys.join(7, || work(&runs));
                        block_on(Waiter::new(&keys, entry))
                    })
                })
                .collect();
            for caller in callers {
                assert!(caller.join().unwrap().unwrap() < 3);
            }
            assert_eq!(keys.len(), 0);
        },
        SCHEDULES,
    );
}

#[test]
fn callers_that_leave_strand_nobody() {
    shuttle::check_random(
        || {
            let (keys, runs) = (table(), Arc::new(AtomicUsize::new(0)));
            let (entry, _) = keys.join(7, || work(&runs));
            let stays = {
                let (keys, entry) = (keys.clone(), entry);
                thread::spawn(move || block_on(Waiter::new(&keys, entry)))
            };
            let leaves: Vec<_> = (0..2)
                .map(|_| {
                    let (keys, runs) = (keys.clone(), runs.clone());
                    thread::spawn(move || {
                        let (entry, _) = keys.join(7, || work(&runs));
                        let mut waiter = Box::pin(Waiter::new(&keys, entry));
                        let mut cx = Context::from_waker(Waker::noop());
                        let _ = waiter.as_mut().poll(&mut cx);
                    })
                })
                .collect();
            assert!(stays.join().unwrap().is_ok());
            leaves.into_iter().for_each(|caller| caller.join().unwrap());
            assert_eq!(keys.len(), 0);
        },
        SCHEDULES,
    );
}

#[test]
fn what_the_last_waiter_leaves_is_begun_anew() {
    shuttle::check_random(
        || {
            let (keys, runs) = (table(), Arc::new(AtomicUsize::new(0)));
            let (entry, _) = keys.join(7, || work(&runs));
            let leaves = {
                let keys = keys.clone();
                thread::spawn(move || drop(Waiter::new(&keys, entry)))
            };
            let (entry, _) = keys.join(7, || work(&runs));
            assert_eq!(block_on(Waiter::new(&keys, entry)), Ok(0));
            leaves.join().unwrap();
            assert_eq!((runs.load(Relaxed), keys.len()), (1, 0));
        },
        SCHEDULES,
    );
}
