//! A wait for a place, and the slot in which its answer arrives.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use seawall_policy::admit::{Ticket, Waiter};
use seawall_policy::{Rejection, Tick};

use super::{Admission, Permit};

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    Waiting(Waker),
    Answered(Result<Ticket, Rejection>),
    Taken,
}

/// Where the gate's answer meets its waiter.
#[derive(Debug, Default)]
pub(super) struct Slot {
    gone: AtomicBool,
    state: Mutex<State>,
}

/// The gate's end of a slot.
#[derive(Debug)]
pub(super) struct Handle(pub(super) Arc<Slot>);

impl Waiter for Handle {
    fn is_gone(&self) -> bool {
        self.0.gone.load(SeqCst)
    }
}

impl Slot {
    /// Leaves the answer and wakes the waiter; hands a ticket back where the waiter left.
    pub(super) fn answer(&self, answer: Result<Ticket, Rejection>) -> Result<(), Ticket> {
        let mut state = self.state.lock();
        if self.gone.load(SeqCst) {
            return answer.map_or(Ok(()), Err);
        }
        let before = std::mem::replace(&mut *state, State::Answered(answer));
        drop(state);
        if let State::Waiting(waker) = before {
            waker.wake();
        }
        Ok(())
    }

    fn poll(&self, waker: &Waker) -> Poll<Result<Ticket, Rejection>> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Answered(answer) => Poll::Ready(answer),
            State::Waiting(old) if old.will_wake(waker) => {
                *state = State::Waiting(old);
                Poll::Pending
            }
            _ => {
                *state = State::Waiting(waker.clone());
                Poll::Pending
            }
        }
    }

    /// Marks the waiter gone; an answer that came before is returned.
    fn leave(&self) -> Option<Result<Ticket, Rejection>> {
        let mut state = self.state.lock();
        self.gone.store(true, SeqCst);
        match std::mem::replace(&mut *state, State::Taken) {
            State::Answered(answer) => Some(answer),
            _ => None,
        }
    }
}

/// A future for a place in the queue: a [`Permit`], or the rejection where none came in time.
///
/// Cancel-safe: dropping it leaves the queue, or gives back a place that had just been given.
#[must_use = "a wait does nothing unless awaited"]
#[derive(Debug)]
pub struct Waiting {
    admission: Admission,
    slot: Arc<Slot>,
    since: Tick,
    done: bool,
}

impl Waiting {
    pub(super) fn new(admission: Admission, slot: Arc<Slot>, since: Tick) -> Self {
        Self {
            admission,
            slot,
            since,
            done: false,
        }
    }

    /// When the wait began.
    #[must_use]
    pub fn since(&self) -> Tick {
        self.since
    }
}

impl Future for Waiting {
    type Output = Result<Permit, Rejection>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = std::task::ready!(self.slot.poll(cx.waker()));
        self.done = true;
        Poll::Ready(answer.map(|ticket| self.admission.permit(ticket)))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.done
            && let Some(Ok(ticket)) = self.slot.leave()
        {
            drop(self.admission.permit(ticket));
        }
    }
}
