//! Something that is made when it is wanted, by one task however many want it, and no more often
//! than a backoff allows: a connection, a Cluster's map of slots.

use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;
use seawall_policy::retry::{Backoff, Schedule};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Fault;

/// A server that is back is found within a second; a thousand clients that lost it together do not
/// come back together.
const BACKOFF: Backoff = Backoff {
    schedule: Schedule::EqualJitter,
    base: std::time::Duration::from_millis(20),
    cap: std::time::Duration::from_secs(1),
};

/// After so long without an attempt the next one counts as the first.
const QUIET: std::time::Duration = std::time::Duration::from_millis(1_500);

pub(super) struct Made<T>(Arc<Shared<T>>);

struct Shared<T> {
    state: Mutex<State<T>>,
    /// Told when an attempt has ended.
    ended: Notify,
}

struct State<T> {
    value: Option<T>,
    /// Counts values, so that who found one void does not void the next.
    number: u64,
    being_made: bool,
    failures: u8,
    /// Nobody tries before, and everyone gets the last fault.
    not_before: Option<Instant>,
    last: Fault,
}

impl<T> Clone for Made<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Clone + Send + 'static> Made<T> {
    pub(super) fn new() -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                value: None,
                number: 0,
                being_made: false,
                failures: 0,
                not_before: None,
                last: Fault::Unreachable("not connected yet".into()),
            }),
            ended: Notify::new(),
        }))
    }

    /// The value and its number: at once where there is one, and at once the last fault while no
    /// attempt is due. Cancel-safe: an attempt is a task of its own.
    pub(super) async fn get<F, M>(&self, make: F) -> Result<(T, u64), Fault>
    where
        F: FnOnce() -> M,
        M: Future<Output = Result<T, Fault>> + Send + 'static,
    {
        // Registered before the look, or its end could be missed.
        let mut ended = std::pin::pin!(self.0.ended.notified());
        {
            let mut state = self.0.state.lock();
            if let Some(value) = &state.value {
                return Ok((value.clone(), state.number));
            }
            ended.as_mut().enable();
            if !state.being_made {
                if state.not_before.is_some_and(|at| Instant::now() < at) {
                    return Err(state.last.clone());
                }
                self.begin(&mut state, make());
            }
        }
        ended.await;
        let state = self.0.state.lock();
        match &state.value {
            Some(value) => Ok((value.clone(), state.number)),
            None => Err(state.last.clone()),
        }
    }

    /// Makes it anew, unless that is under way or too early; the old value serves meanwhile.
    pub(super) fn renew<M>(&self, make: impl FnOnce() -> M)
    where
        M: Future<Output = Result<T, Fault>> + Send + 'static,
    {
        let mut state = self.0.state.lock();
        if !state.being_made && state.not_before.is_none_or(|at| Instant::now() >= at) {
            self.begin(&mut state, make());
        }
    }

    /// The value of this number is no good any more.
    pub(super) fn void(&self, number: u64, why: &Fault) {
        let mut state = self.0.state.lock();
        if state.number == number && state.value.take().is_some() {
            state.last = why.clone();
            state.wait();
        }
    }

    fn begin<M>(&self, state: &mut State<T>, make: M)
    where
        M: Future<Output = Result<T, Fault>> + Send + 'static,
    {
        state.being_made = true;
        let attempt = Attempt(self.0.clone());
        tokio::spawn(async move {
            let made = make.await;
            attempt.0.state.lock().end(made);
        });
    }
}

impl<T> State<T> {
    fn end(&mut self, made: Result<T, Fault>) {
        match made {
            Ok(value) => {
                self.value = Some(value);
                self.number += 1;
            }
            Err(fault) => self.last = fault,
        }
        self.wait();
    }

    /// After a success, too: what is found void again and again is not made again at once.
    fn wait(&mut self) {
        let now = Instant::now();
        if self
            .not_before
            .is_none_or(|at| now.saturating_duration_since(at) > QUIET)
        {
            self.failures = 0;
        }
        let wait = BACKOFF.wait(self.failures, BACKOFF.base, fastrand::u64(..));
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + wait);
    }
}

/// An attempt; it ends also where its runtime does.
struct Attempt<T>(Arc<Shared<T>>);

impl<T> Drop for Attempt<T> {
    fn drop(&mut self) {
        self.0.state.lock().being_made = false;
        self.0.ended.notify_waiters();
    }
}
