//! Waking a connection's task only when there is something for it to do.
//!
//! hyper wakes the task of an HTTP/1.1 connection whenever a part of a response's body is taken
//! from it, also when that was the last part and the task has long been waiting for its next
//! request. For a small response that is one turn of the task in three. The connection is polled
//! with a waker of our own, which is held still while the last part is taken.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};

/// What wakes a connection's task.
#[derive(Debug)]
pub(super) struct Bell {
    task: OnceLock<Waker>,
    held: AtomicBool,
    rung: AtomicBool,
    /// The core whose thread the task runs on.
    home: usize,
}

impl Bell {
    pub(super) fn new(home: usize) -> Arc<Self> {
        Arc::new(Self {
            task: OnceLock::new(),
            held: AtomicBool::new(false),
            rung: AtomicBool::new(false),
            home,
        })
    }

    /// Does `take`, which returns whether the response has ended with it. If it has, whatever it
    /// rang is not heard; if not, it is heard now. `core` is the caller's: on any other than the
    /// task's own, something else could ring meanwhile, so nothing is held there.
    pub(super) fn still<T>(&self, core: usize, take: impl FnOnce() -> (T, bool)) -> T {
        if core != self.home {
            return take().0;
        }
        self.rung.store(false, Relaxed);
        self.held.store(true, Relaxed);
        let (taken, ended) = take();
        self.held.store(false, Relaxed);
        if !ended && self.rung.load(Relaxed) {
            self.ring();
        }
        taken
    }

    fn ring(&self) {
        if self.held.load(Relaxed) {
            self.rung.store(true, Relaxed);
        } else if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

/// A connection that its bell wakes. Stays in the task that polls it first.
#[derive(Debug)]
pub(super) struct Driven<C> {
    connection: C,
    bell: Arc<Bell>,
    waker: Waker,
}

impl<C> Driven<C> {
    pub(super) fn new(connection: C, bell: Arc<Bell>) -> Self {
        let waker = Waker::from(bell.clone());
        Self {
            connection,
            bell,
            waker,
        }
    }
}

impl<C: Future + Unpin> Future for Driven<C> {
    type Output = C::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let this = self.get_mut();
        this.bell.task.get_or_init(|| cx.waker().clone());
        Pin::new(&mut this.connection).poll(&mut Context::from_waker(&this.waker))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn only_the_end_of_a_response_is_not_heard() {
        let count = Arc::new(Count::default());
        let task = Waker::from(count.clone());
        let bell = Bell::new(3);
        let mut driven = Driven::new(std::future::pending::<()>(), bell.clone());
        let poll = Pin::new(&mut driven).poll(&mut Context::from_waker(&task));
        assert!(poll.is_pending());

        bell.still(3, || ((), false));
        assert_eq!(count.0.load(Relaxed), 0, "nothing rang");
        let heard = |core, ended| {
            let before = count.0.load(Relaxed);
            bell.still(core, || {
                Waker::from(bell.clone()).wake();
                ((), ended)
            });
            count.0.load(Relaxed) - before
        };
        assert_eq!([heard(3, true), heard(3, false), heard(0, true)], [0, 1, 1]);
        Waker::from(bell.clone()).wake_by_ref();
        assert_eq!(count.0.load(Relaxed), 3);
    }
}
