//! Values that follow a call into the tasks it starts.
//!
//! A request context has to be readable far below the handler that received it, in tasks and
//! helpers that know nothing of it. Tokio's task-locals give each crate a slot of its own, which a
//! spawn then has to carry over one by one. Here one slot a thread holds one type-erased value: a
//! [`Group`](crate::Group), a [`Flight`](crate::Flight) and a pipeline carry it without knowing
//! what it is, and this crate needs to know no other.
//!
//! A value may come with a deadline ([`Ambient::with_until`]), as a request context does. A group
//! made where it is ambient takes it for its own, so that a call's time limit ends the tasks that
//! were started for the call, though no crate here knows what a call is. The deadline is the
//! value's: another value in its place brings its own or none, and who says that a call has no limit
//! after all need not undo anything. It is given as an instant, since whoever made the value knows
//! the clock its deadline is by. What only *reads* the value, such as a flight's work that others
//! wait for too, is not bound by it.
//!
//! The slot is swapped in for each poll and back after it, so a value never shows in another task
//! of the same thread. That costs two thread-local swaps a poll and touches no shared counter.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

#[cfg(feature = "rt")]
use tokio::time::Instant;

#[cfg(feature = "rt")]
use crate::{
    group::Scope,
    leak::{Live, Tracker},
};
#[cfg(not(feature = "rt"))]
type Live = ();

thread_local!(static SLOT: Cell<Ambient> = const { Cell::new(Ambient(None)) });

/// What follows a call into its tasks: one value of any type, and the [`Scope`]
/// of the group it runs in. A clone costs one reference count.
///
/// ```
/// use seawall_sync::ambient;
///
/// #[derive(Debug, PartialEq)]
/// struct Tenant(&'static str);
///
/// let call = ambient::current().with(Tenant("shop"));
/// call.enter(|| {
///     assert_eq!(ambient::current().get::<Tenant>(), Some(&Tenant("shop")));
/// });
/// assert_eq!(ambient::current().get::<Tenant>(), None);
/// ```
#[derive(Clone, Default)]
pub struct Ambient(Option<Arc<Values>>);

#[derive(Clone, Default)]
struct Values {
    value: Option<Arc<dyn Any + Send + Sync>>,
    #[cfg(feature = "rt")]
    deadline: Option<Instant>,
    #[cfg(feature = "rt")]
    scope: Option<Arc<Scope>>,
    #[cfg(feature = "rt")]
    tracker: Option<Tracker>,
}

/// What is ambient on this thread now; empty outside of any scope. Costs one reference count.
#[must_use]
pub fn current() -> Ambient {
    peek(Ambient::clone)
}

/// Looks at what is ambient now, which is out of reach for others meanwhile.
pub(crate) fn peek<R>(look: impl FnOnce(&Ambient) -> R) -> R {
    let mut ambient = Ambient(None);
    let entered = Entered::new(&mut ambient);
    look(entered.0)
}

impl Ambient {
    /// The same surroundings with `value` in them, in place of any value before it.
    #[must_use]
    pub fn with<T: Any + Send + Sync>(&self, value: T) -> Self {
        self.change(|values| {
            values.value = Some(Arc::new(value));
            #[cfg(feature = "rt")]
            {
                values.deadline = None;
            }
        })
    }

    /// As [`with`](Self::with), for a value that has a deadline: a [`Group`](crate::Group) made
    /// where this is ambient ends by then.
    ///
    /// ```
    /// use seawall_sync::{Group, ambient, group::TaskError};
    /// use std::time::Duration;
    /// use tokio::time::Instant;
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let call = ambient::current().with_until("shop", Instant::now() + Duration::from_millis(5));
    /// let handler = call.scope(async {
    ///     let mut group = Group::<(), ()>::new();
    ///     group.spawn(std::future::pending());
    ///     group.join().await.all().unwrap_err().error
    /// });
    /// assert_eq!(handler.await, TaskError::DeadlineExceeded);
    /// # });
    /// ```
    #[cfg(feature = "rt")]
    #[must_use]
    pub fn with_until<T: Any + Send + Sync>(&self, value: T, deadline: Instant) -> Self {
        self.change(|values| {
            values.value = Some(Arc::new(value));
            values.deadline = Some(deadline);
        })
    }

    /// The value, if there is one and it is a `T`.
    #[must_use]
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.as_ref()?.value.as_ref()?.downcast_ref()
    }

    /// `future`, with this ambient at every poll and while it is dropped.
    ///
    /// ```
    /// # use seawall_sync::ambient;
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let call = ambient::current().with(7_u32);
    /// let read = call.scope(async { ambient::current().get::<u32>().copied() });
    /// assert_eq!(read.await, Some(7));
    /// # });
    /// ```
    pub fn scope<F: Future>(self, future: F) -> Scoped<F> {
        Scoped {
            future: Some(future),
            ambient: self,
            live: None,
        }
    }

    /// Runs `work` with this ambient, and restores the former one after it, also after a panic.
    pub fn enter<R>(&self, work: impl FnOnce() -> R) -> R {
        let mut ambient = self.clone();
        let _entered = Entered::new(&mut ambient);
        work()
    }

    fn change(&self, change: impl FnOnce(&mut Values)) -> Self {
        let mut values = self.0.as_deref().cloned().unwrap_or_default();
        change(&mut values);
        Self(Some(Arc::new(values)))
    }

    /// Whether all but the scope is the same.
    #[cfg(feature = "rt")]
    pub(crate) fn same_values(&self, other: &Self) -> bool {
        let address = |ambient: &Self| {
            let value = ambient.0.as_ref().and_then(|values| values.value.as_ref());
            (
                value.map(|value| Arc::as_ptr(value).cast::<()>()),
                ambient.tracker().map(Tracker::address),
            )
        };
        address(self) == address(other)
    }

    #[cfg(feature = "rt")]
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.0.as_ref()?.deadline
    }

    #[cfg(feature = "rt")]
    pub(crate) fn scope_of_group(&self) -> Option<&Arc<Scope>> {
        self.0.as_ref()?.scope.as_ref()
    }

    #[cfg(feature = "rt")]
    pub(crate) fn with_scope(&self, scope: Arc<Scope>) -> Self {
        self.change(|values| values.scope = Some(scope))
    }

    /// Without the group and the deadline: for work that must outlive the one who began it.
    pub(crate) fn unbound(self) -> Self {
        #[cfg(feature = "rt")]
        if self.scope_of_group().is_some() || self.deadline().is_some() {
            return self.change(|values| {
                values.scope = None;
                values.deadline = None;
            });
        }
        self
    }

    #[cfg(feature = "rt")]
    pub(crate) fn tracker(&self) -> Option<&Tracker> {
        self.0.as_ref()?.tracker.as_ref()
    }

    #[cfg(feature = "rt")]
    pub(crate) fn with_tracker(&self, tracker: Tracker) -> Self {
        self.change(|values| values.tracker = Some(tracker))
    }
}

impl fmt::Debug for Ambient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let full = self.0.as_ref().is_some_and(|values| values.value.is_some());
        f.debug_struct("Ambient").field("value", &full).finish()
    }
}

/// While it lives, the ambient it was made from is in the slot, and the former one in its place.
pub(crate) struct Entered<'a>(&'a mut Ambient);

impl<'a> Entered<'a> {
    #[inline]
    pub(crate) fn new(ambient: &'a mut Ambient) -> Self {
        exchange(ambient);
        Self(ambient)
    }
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        exchange(self.0);
    }
}

#[inline]
fn exchange(ambient: &mut Ambient) {
    // Without a slot (the thread is ending) work runs without ambient values.
    let _ = SLOT.try_with(|slot| *ambient = slot.replace(mem::take(ambient)));
}

pin_project! {
    /// A future with its ambient: what [`Ambient::scope`] and [`AmbientExt::in_current_call`] make.
    ///
    /// As cancel-safe as the future inside.
    #[must_use = "futures do nothing unless polled"]
    pub struct Scoped<F> {
        #[pin]
        future: Option<F>,
        ambient: Ambient,
        live: Option<Live>,
    }

    impl<F> PinnedDrop for Scoped<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _entered = Entered::new(this.ambient);
            this.future.set(None);
        }
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = Entered::new(this.ambient);
        this.future
            .as_pin_mut()
            .expect("only the destructor takes the future")
            .poll(cx)
    }
}

impl<F> fmt::Debug for Scoped<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scoped")
            .field("ambient", &self.ambient)
            .finish_non_exhaustive()
    }
}

/// Carries the ambient of now where a bare spawn would lose it.
pub trait AmbientExt: Future + Sized {
    /// This future, with what is ambient where this is called. A leak check sees it, too.
    ///
    /// ```
    /// use seawall_sync::{AmbientExt, ambient};
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let call = ambient::current().with("shop");
    /// let task = call.enter(|| {
    ///     tokio::spawn(async { ambient::current().get::<&str>().copied() }.in_current_call())
    /// });
    /// assert_eq!(task.await.unwrap(), Some("shop"));
    /// # });
    /// ```
    #[track_caller]
    fn in_current_call(self) -> Scoped<Self> {
        let ambient = current();
        #[cfg(feature = "rt")]
        let live = {
            let here = std::panic::Location::caller();
            let tracker = ambient.tracker();
            tracker.map(|tracker| tracker.track("a bare task", here))
        };
        #[cfg(not(feature = "rt"))]
        let live = None;
        Scoped {
            future: Some(self),
            ambient,
            live,
        }
    }
}

impl<F: Future> AmbientExt for F {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, poll_fn};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::task::Waker;

    fn here() -> Option<u32> {
        current().get::<u32>().copied()
    }

    #[test]
    fn a_value_shows_inside_only() {
        let outer = current().with(1_u32);
        outer.enter(|| {
            current().with(2_u32).enter(|| assert_eq!(here(), Some(2)));
            assert_eq!(here(), Some(1));
            assert_eq!(current().get::<u64>(), None);
        });
        assert_eq!(here(), None);
    }

    #[test]
    fn a_panic_restores_what_was_before() {
        let ambient = current().with(1_u32);
        let panicked = catch_unwind(AssertUnwindSafe(|| ambient.enter(|| panic!("on purpose"))));
        assert!(panicked.is_err());
        assert_eq!(here(), None);

        let mut task = Box::pin(current().with(1_u32).scope(async { panic!("on purpose") }));
        let poll = || task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let panicked = catch_unwind(AssertUnwindSafe(poll));
        assert!(panicked.is_err());
        assert_eq!(here(), None);
    }

    #[test]
    fn a_future_sees_its_own_at_every_poll_and_when_dropped() {
        struct SeesOnDrop<'a>(&'a Cell<Option<u32>>);
        impl Drop for SeesOnDrop<'_> {
            fn drop(&mut self) {
                self.0.set(here());
            }
        }
        let seen = Cell::new(None);
        let polls = Cell::new(0);
        let probe = SeesOnDrop(&seen);
        let mut task = Box::pin(current().with(7_u32).scope(async {
            let _probe = probe;
            poll_fn(|_| {
                assert_eq!(here(), Some(7));
                polls.set(polls.get() + 1);
                Poll::<()>::Pending
            })
            .await;
            pending::<()>().await;
        }));
        for _ in 0..3 {
            let mut cx = Context::from_waker(Waker::noop());
            assert!(task.as_mut().poll(&mut cx).is_pending());
            assert_eq!(here(), None);
        }
        drop(task);
        assert_eq!((polls.get(), seen.get(), here()), (3, Some(7), None));
    }
}
