//! A caller that waits for the work of a key, and drives it.

use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::table::{Entry, Table};
use super::work::{Found, Place, catch};
use super::{FlightError, Outcome};

pub(super) struct Waiter<'a, K: Hash + Eq, V: Clone + Send + 'static> {
    table: &'a Table<K, V>,
    entry: Entry<V>,
    place: Place,
    served: bool,
}

impl<'a, K: Hash + Eq, V: Clone + Send + 'static> Waiter<'a, K, V> {
    pub(super) fn new(table: &'a Table<K, V>, entry: Entry<V>) -> Self {
        Self {
            table,
            entry,
            place: None,
            served: false,
        }
    }
}

impl<K: Hash + Eq, V: Clone + Send + 'static> Future for Waiter<'_, K, V> {
    type Output = Outcome<V>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<V>> {
        let this = &mut *self;
        let outcome = match this.entry.work.poll(&mut this.place, cx) {
            Found::Pending => return Poll::Pending,
            Found::Itself => return Poll::Ready(Err(FlightError::WaitsForItself)),
            Found::Done(outcome) => outcome,
            Found::Ended(outcome) => {
                // A clone that panics must not strand the others.
                let shared = catch(|| outcome.clone()).unwrap_or_else(Err);
                this.table.end(&this.entry, shared);
                outcome
            }
        };
        this.served = true;
        Poll::Ready(outcome)
    }
}

impl<K: Hash + Eq, V: Clone + Send + 'static> Drop for Waiter<'_, K, V> {
    fn drop(&mut self) {
        if !self.served {
            self.table.leave(&self.entry, self.place);
        }
    }
}
