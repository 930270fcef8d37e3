//! The work of one key, driven by whoever waits for it.
//!
//! The future lies in the entry; a waiter that is polled takes it out, polls it, and puts it back.
//! What the future's waker does is wake *every* waiter: any single one might be slow, stuck or put
//! aside for good (a branch of a `select!` that is not polled), and the others would hang behind
//! it. So as long as one waiter is polled, the work goes on. That makes a wake cost as many wakes
//! as there are waiters, once a wake of the work; a key that thousands wait for wants
//! [`detached`](super::Flight::detached) work, which wakes them only at its end.
//!
//! No wake is lost: it sets `woken` under the lock that every waiter decides under. While a waiter
//! polls the work, it finds the flag when it puts the work back; otherwise the first waiter polled
//! finds it.
//!
//! Work that waits for its own key would wait for ever. It is found out by the thread: whoever polls
//! a waiter while this very thread is polling the waiter's work does so from inside of that work.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};

use slab::Slab;

use super::lock::{Mutex, this_thread};
use super::panics;
use super::{FlightError, Outcome};

pub(super) type Boxed<V> = Pin<Box<dyn Future<Output = V> + Send>>;

/// The work of one key, and those who wait for it.
pub(super) struct Work<V> {
    state: Mutex<State<V>>,
    /// The thread that polls the work now, or 0. Read to any purpose by that thread alone: Relaxed.
    polled_by: AtomicUsize,
}

struct State<V> {
    stage: Stage<V>,
    /// The work's waker was called since it was last polled.
    woken: bool,
    /// Waiters that have not had the outcome. Detached work counts as one.
    waiting: usize,
    wakers: Slab<Option<Waker>>,
}

enum Stage<V> {
    /// Nobody is polling it.
    Idle(Boxed<V>),
    /// A waiter or a task of its own has it.
    Driven,
    Done(Outcome<V>),
}

/// What a waiter found.
pub(super) enum Found<V> {
    Pending,
    /// The waiter is part of the work.
    Itself,
    /// This waiter has ended the work: it is for it to take it out of the table and to publish.
    Ended(Outcome<V>),
    Done(Outcome<V>),
}

/// A waiter's place in [`State::wakers`].
pub(super) type Place = Option<usize>;

impl<V: Clone + Send + 'static> Work<V> {
    /// Work to be driven by its waiters, of which there is one.
    pub(super) fn new(future: Boxed<V>) -> Self {
        Self::at(Stage::Idle(future))
    }

    /// Work that a task of its own drives, which counts as a waiter; so there are two.
    #[cfg(feature = "rt")]
    pub(super) fn detached() -> Self {
        let work = Self::at(Stage::Driven);
        work.enter();
        work
    }

    fn at(stage: Stage<V>) -> Self {
        Self {
            state: Mutex::new(State {
                stage,
                woken: true,
                waiting: 1,
                wakers: Slab::new(),
            }),
            polled_by: AtomicUsize::new(0),
        }
    }

    /// Polls the work's future, by `poll`.
    pub(super) fn drive<R>(&self, poll: impl FnOnce() -> R) -> Result<R, FlightError> {
        self.polled_by.store(this_thread(), Relaxed);
        let polled = catch(poll);
        self.polled_by.store(0, Relaxed);
        polled
    }

    fn is_polled_here(&self) -> bool {
        let polled_by = self.polled_by.load(Relaxed);
        polled_by != 0 && polled_by == this_thread()
    }

    /// One waiter more.
    pub(super) fn enter(&self) {
        self.state.lock().waiting += 1;
    }

    /// A waiter less, whose interest is over before the work. With the last one the work ends:
    /// then the future is returned, and the waiter's waker always, to be dropped when no lock is
    /// held any more.
    pub(super) fn leave(&self, place: Place) -> (Option<Boxed<V>>, Option<Waker>) {
        let mut state = self.state.lock();
        let waker = place.and_then(|place| state.wakers.remove(place));
        state.waiting -= 1;
        if state.waiting > 0 {
            return (None, waker);
        }
        match std::mem::replace(&mut state.stage, Stage::Driven) {
            Stage::Idle(future) => (Some(future), waker),
            other => {
                state.stage = other;
                (None, waker)
            }
        }
    }

    /// Polls on behalf of one waiter.
    pub(super) fn poll(self: &Arc<Self>, place: &mut Place, cx: &mut Context<'_>) -> Found<V> {
        let mut future = {
            let mut state = self.state.lock();
            if let Stage::Done(outcome) = &state.stage {
                return Found::Done(outcome.clone());
            }
            if self.is_polled_here() {
                return Found::Itself;
            }
            if !state.woken || !matches!(state.stage, Stage::Idle(_)) {
                let former = state.register(place, cx);
                drop(state);
                drop(former);
                return Found::Pending;
            }
            let Stage::Idle(future) = std::mem::replace(&mut state.stage, Stage::Driven) else {
                unreachable!("it was idle a line above, under the same lock");
            };
            state.woken = false;
            future
        };
        let waker = Waker::from(self.clone());
        let polled = self.drive(|| future.as_mut().poll(&mut Context::from_waker(&waker)));
        let outcome = match polled {
            Ok(Poll::Pending) => {
                self.put_back(future, place, cx);
                return Found::Pending;
            }
            Ok(Poll::Ready(value)) => catch(|| drop(future)).map(|()| value),
            Err(panicked) => {
                // It has said what is to be said.
                let _ = catch(|| drop(future));
                Err(panicked)
            }
        };
        Found::Ended(outcome)
    }

    fn put_back(&self, future: Boxed<V>, place: &mut Place, cx: &mut Context<'_>) {
        let (woken, _former) = {
            let mut state = self.state.lock();
            let former = state.register(place, cx);
            state.stage = Stage::Idle(future);
            let woken = if state.woken {
                state.take_wakers()
            } else {
                Vec::new()
            };
            (woken, former)
        };
        wake(woken);
    }

    /// Hands the outcome to everyone who waits.
    pub(super) fn publish(&self, outcome: Outcome<V>) {
        let woken = {
            let mut state = self.state.lock();
            state.stage = Stage::Done(outcome);
            state.take_wakers()
        };
        wake(woken);
    }
}

impl<V> State<V> {
    /// Returns the waker that was there before, to be dropped when no lock is held: it may be all
    /// that holds a task, and that task another waiter.
    fn register(&mut self, place: &mut Place, cx: &Context<'_>) -> Option<Waker> {
        let Some(place) = place else {
            *place = Some(self.wakers.insert(Some(cx.waker().clone())));
            return None;
        };
        match &mut self.wakers[*place] {
            Some(waker) if waker.will_wake(cx.waker()) => None,
            other => other.replace(cx.waker().clone()),
        }
    }

    /// Each is woken once until it is polled again.
    fn take_wakers(&mut self) -> Vec<Waker> {
        let wakers = self.wakers.iter_mut();
        wakers.filter_map(|(_, waker)| waker.take()).collect()
    }
}

impl<V: Send + 'static> Wake for Work<V> {
    fn wake(self: Arc<Self>) {
        let woken = {
            let mut state = self.state.lock();
            state.woken = true;
            match state.stage {
                Stage::Idle(_) => state.take_wakers(),
                // Whoever drives it sees the flag; after the end there is nothing to do.
                Stage::Driven | Stage::Done(_) => Vec::new(),
            }
        };
        wake(woken);
    }
}

/// Outside of the lock: a waker may run anything, also code that comes back here.
fn wake(wakers: Vec<Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

pub(super) fn catch<R>(work: impl FnOnce() -> R) -> Result<R, FlightError> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| FlightError::Panicked {
        message: panics::message(payload).into(),
    })
}
