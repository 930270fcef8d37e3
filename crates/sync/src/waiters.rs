//! Waiting until something shared has changed, on any runtime.
//!
//! No wake-up is lost, and the argument needs one lock alone. Who waits enters its waker under the
//! lock and looks again afterwards. Who changes something does so first and takes the lock
//! afterwards: either it finds the waker, or the other looks after the change.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use crate::primitives::Mutex;

struct List {
    next: u64,
    wakers: BTreeMap<u64, Waker>,
}

pub(crate) struct Waiters(Mutex<List>);

impl Waiters {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(List {
            next: 0,
            wakers: BTreeMap::new(),
        }))
    }

    /// Wakes all who wait; after the change that they are to see.
    pub(crate) fn wake(&self) {
        let wakers = std::mem::take(&mut self.0.lock().wakers);
        // Not under the lock: a waker may run what it wakes.
        wakers.into_values().for_each(Waker::wake);
    }

    /// Waits until `look` finds something. Cancel-safe as far as `look` is.
    pub(crate) async fn until<R>(&self, mut look: impl FnMut() -> Option<R>) -> R {
        let mut entry = Entry {
            waiters: self,
            place: None,
        };
        poll_fn(|cx| {
            let found = look().or_else(|| {
                entry.enter(cx.waker());
                // Only what changed before we entered can have gone unnoticed.
                look()
            });
            found.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// A place in the list, given up when dropped.
struct Entry<'a> {
    waiters: &'a Waiters,
    place: Option<u64>,
}

impl Entry<'_> {
    fn enter(&mut self, waker: &Waker) {
        let mut list = self.waiters.0.lock();
        let place = *self.place.get_or_insert_with(|| {
            list.next += 1;
            list.next
        });
        let former = list.wakers.insert(place, waker.clone());
        drop(list);
        // Not under the lock: it may be all that holds a task, and that task another waiter.
        drop(former);
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let waker = self.waiters.0.lock().wakers.remove(&place);
            drop(waker);
        }
    }
}
