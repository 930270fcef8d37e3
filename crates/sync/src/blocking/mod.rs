//! CPU-bound work on threads of its own.
//!
//! Tokio's blocking pool grows to 512 threads and queues without end: right for calls that wait,
//! wrong for work that computes. Here threads and queue are bounded, and a caller waits for room.
//! A closure that runs cannot be ended, and this does not pretend otherwise: when its caller leaves,
//! it is told through [`Stop`], it goes on to be counted and named by [`Blocking::running`], and its
//! thread is not replaced. What is still queued is dropped at once.

mod lock {
    pub(super) use crate::primitives::{Condvar, Mutex};
}
#[cfg(test)]
mod model;
mod queue;

use std::borrow::Cow;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::{io, thread};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

use crate::leak::Live;
use crate::tasks::{self, About, Kind};
use crate::threads::check_name;
use crate::{ambient, panics};
use queue::{Job, Queue};

/// Tells a closure that nobody waits for its result any more. Ask it in every loop that may be long.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Whether to stop: the caller has left, or the pool is gone. Costs one relaxed load.
    #[inline]
    #[must_use]
    pub fn requested(&self) -> bool {
        // Nothing is published along with it.
        self.0.load(Relaxed)
    }

    fn request(&self) {
        self.0.store(true, Relaxed);
    }
}

/// Why a closure has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockingError {
    /// It panicked.
    #[error("panicked: {message}")]
    Panicked {
        /// What the panic said.
        message: String,
    },
    /// The pool was dropped before the closure began.
    #[error("the pool was dropped before the closure began")]
    Closed,
}

/// A closure that runs.
#[derive(Clone, Debug)]
pub struct Running {
    /// Its name.
    pub name: Cow<'static, str>,
    /// Since when.
    pub since: Instant,
    /// Whether it has been told to stop, and has not yet.
    pub told: bool,
}

/// A bounded pool of threads for work that computes.
///
/// ```
/// use seawall_sync::Blocking;
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let pool = Blocking::new("hash", 2, 64).unwrap();
/// let sum = pool.run("sum", |stop| {
///     (1..=1_000_u64).take_while(|_| !stop.requested()).sum::<u64>()
/// });
/// assert_eq!(sum.await, Ok(500_500));
/// # });
/// ```
pub struct Blocking {
    name: Arc<str>,
    queue: Arc<Queue<Held>>,
    room: Arc<Semaphore>,
}

/// What a call holds until its closure has ended: its room, and its place in a leak check.
type Held = (OwnedSemaphorePermit, Option<Live>);

impl Blocking {
    /// Starts `threads` (at least 1) threads called `name`. At most `queue` calls wait for one; any
    /// beyond them wait for room in the queue.
    ///
    /// # Errors
    /// A thread could not be started, or not so named: no name holds a NUL byte.
    pub fn new(name: &str, threads: usize, queue: usize) -> io::Result<Self> {
        let name = check_name(name.to_owned())?;
        let threads = threads.max(1);
        let room = threads.saturating_add(queue).min(Semaphore::MAX_PERMITS);
        // Dropped on an error, which ends the threads that did start.
        let blocking = Self {
            name: name.as_str().into(),
            queue: Arc::new(Queue::new()),
            room: Arc::new(Semaphore::new(room)),
        };
        for _ in 0..threads {
            let queue = blocking.queue.clone();
            let builder = thread::Builder::new().name(name.clone());
            builder.spawn(move || queue.work())?;
        }
        Ok(blocking)
    }

    /// Runs `work` on a thread of the pool. Ambient values follow into it; a leak check sees it.
    ///
    /// Cancel-safe: a closure that has not begun is dropped, one that runs is told to stop.
    ///
    /// # Errors
    /// It panicked, or the pool was dropped before it began.
    pub async fn run<R, W>(
        &self,
        name: impl Into<Cow<'static, str>>,
        work: W,
    ) -> Result<R, BlockingError>
    where
        R: Send + 'static,
        W: FnOnce(&Stop) -> R + Send + 'static,
    {
        let name = name.into();
        // Nobody closes it while the pool is borrowed.
        let room = self.room.clone().acquire_owned().await;
        let room = room.map_err(|_| BlockingError::Closed)?;
        let ambient = ambient::current();
        let tracker = ambient.tracker();
        let live = tracker
            .map(|tracker| tracker.track(format!("blocking closure `{name}`"), Location::caller()));
        let (tell, told) = oneshot::channel();
        let mut about = About::new(Kind::Blocking, name.clone(), std::time::Instant::now());
        about.group = Some(self.name.clone());
        let entry = tasks::enter(about);
        let run = Box::new(move |stop: &Stop| {
            let _turn = entry.turn();
            let result = catch_unwind(AssertUnwindSafe(|| ambient.enter(|| work(stop))));
            // Without a receiver the caller has left.
            let _ = tell.send(result.map_err(panics::message));
        });
        let _call = self.queue.push(Job {
            name,
            stop: Stop::default(),
            run,
            held: (room, live),
        });
        match told.await {
            Ok(result) => result.map_err(|message| BlockingError::Panicked { message }),
            Err(_) => Err(BlockingError::Closed),
        }
    }

    /// What runs now, in no order.
    #[must_use]
    pub fn running(&self) -> Vec<Running> {
        self.queue.running()
    }

    /// How many wait for a thread.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.waiting()
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl fmt::Debug for Blocking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocking")
            .field("running", &self.running())
            .field("queued", &self.queued())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leak;
    use crate::testing::{at_every_poll, within_polls};
    use std::sync::atomic::AtomicUsize;

    /// A closure that runs until it is told, having said that it runs.
    fn until_told(begun: oneshot::Sender<()>) -> impl FnOnce(&Stop) + Send + 'static {
        move |stop| {
            let _ = begun.send(());
            while !stop.requested() {
                thread::yield_now();
            }
        }
    }

    #[tokio::test]
    async fn what_runs_is_named_and_told_when_its_caller_leaves() {
        leak::check(async {
            let pool = Blocking::new("test", 1, 1).unwrap();
            let (begun, running) = oneshot::channel();
            let mut call = Box::pin(pool.run("render", until_told(begun)));
            tokio::select! {
                _ = &mut call => unreachable!("nobody told it"),
                _ = running => {}
            }
            let running = pool.running();
            assert_eq!((running.len(), &*running[0].name), (1, "render"));
            assert!(!running[0].told);
            drop(call);
            // The one thread is free again only when the closure has heard.
            assert_eq!(pool.run("next", |_| 7).await, Ok(7));
        })
        .await;
    }

    #[tokio::test]
    async fn a_closure_that_asks_nothing_is_a_leak() {
        let (end, ended) = oneshot::channel::<()>();
        let pool = Arc::new(Blocking::new("test", 1, 1).unwrap());
        let (begun, running) = oneshot::channel();
        let deaf = pool.clone();
        let ((), leaked) = leak::find(async move {
            let deaf = deaf.run("deaf", move |_| {
                let _ = begun.send(());
                let _ = ended.blocking_recv();
            });
            tokio::select! {
                _ = deaf => unreachable!("it waits for the end of the test"),
                _ = running => {}
            }
        })
        .await;
        let names: Vec<_> = leaked.iter().map(|leaked| &*leaked.name).collect();
        assert_eq!(names, ["blocking closure `deaf`"]);
        assert!(pool.running()[0].told);
        drop(end);
    }

    #[tokio::test]
    async fn panics_come_back_and_ambient_values_follow() {
        let pool = Blocking::new("test", 1, 0).unwrap();
        let panicked = pool.run("bad", |_| -> u32 { panic!("row {}", 7) }).await;
        let message = "row 7".to_owned();
        assert_eq!(panicked, Err(BlockingError::Panicked { message }));
        let read = || ambient::current().get::<u32>().copied();
        let run = pool.run("good", move |_| read());
        assert_eq!(ambient::current().with(7_u32).scope(run).await, Ok(Some(7)));
        assert_eq!(pool.run("none", move |_| read()).await, Ok(None));
    }

    #[tokio::test]
    async fn beyond_the_queue_callers_wait_and_who_leaves_makes_room() {
        let pool = Blocking::new("test", 1, 1).unwrap();
        let (begun, running) = oneshot::channel();
        let mut first = Box::pin(pool.run("first", until_told(begun)));
        tokio::select! {
            biased;
            _ = &mut first => unreachable!("nobody told it"),
            _ = running => {}
        }
        let mut second = Box::pin(pool.run("second", |_| 2));
        let mut third = Box::pin(pool.run("third", |_| 3));
        assert!(is_pending(second.as_mut()).await && is_pending(third.as_mut()).await);
        assert_eq!(pool.queued(), 1);
        drop(second);
        assert!(is_pending(third.as_mut()).await);
        assert_eq!(pool.queued(), 1);
        drop(first);
        assert_eq!(third.await, Ok(3));
    }

    #[tokio::test]
    async fn wherever_a_call_is_dropped_its_place_is_free_again() {
        leak::check(async {
            let pool = Blocking::new("test", 1, 0).unwrap();
            let runs = Arc::new(AtomicUsize::new(0));
            let polls = at_every_poll(async |polls| {
                // Takes the only place, so that the call waits first for room and then for its end.
                let (end, ended) = oneshot::channel::<()>();
                let mut first = Box::pin(pool.run("first", |_| ended.blocking_recv().is_ok()));
                // The thread of the call before may yet hold its room.
                while pool.running().iter().all(|running| running.name != "first") {
                    assert!(is_pending(first.as_mut()).await);
                    tokio::task::yield_now().await;
                }
                let before = runs.load(Relaxed);
                let counted = runs.clone();
                let mut call = Box::pin(pool.run("call", move |_| counted.fetch_add(1, Relaxed)));
                let mut end = Some(end);
                let call = std::future::poll_fn(move |cx| {
                    let polled = call.as_mut().poll(cx);
                    drop(end.take());
                    polled
                });
                let completed = within_polls(call, polls).await.is_some();
                drop(first);
                while !pool.running().is_empty() {
                    tokio::task::yield_now().await;
                }
                assert_eq!(pool.queued(), 0);
                let ran = runs.load(Relaxed) - before;
                assert!(ran <= 1 && (ran == 1 || !completed), "{ran}");
                assert_eq!(pool.run("next", |_| 7).await, Ok(7));
                completed
            })
            .await;
            assert!(polls >= 2, "{polls}");
        })
        .await;
    }

    async fn is_pending<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
        std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_pending()))
            .await
    }
}
