//! Work that a task of its own drives.

use std::future::{Future, poll_fn};
use std::hash::Hash;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use super::table::{Entry, Table};
use super::waiter::Waiter;
use super::work::Work;
use super::{Flight, FlightError, Outcome};
use crate::ambient;

/// A [`Flight`] whose work is spawned: it goes on when every waiter has left, and waiters are woken
/// only by its end. For work worth finishing anyway (a cache to be filled), and for keys that
/// thousands wait for.
///
/// ```
/// use seawall_sync::Flight;
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let pages = Flight::new().detached();
/// assert_eq!(pages.run("index", async { "<html>" }).await, Ok("<html>"));
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct Detached<K, V>(Flight<K, V>);

impl<K: Hash + Eq, V: Clone + Send + 'static> Flight<K, V> {
    /// Spawns the work instead of having its waiters drive it. A clone that is not detached shares
    /// the keys; who begins a key decides for it.
    #[must_use]
    pub fn detached(self) -> Detached<K, V> {
        Detached(self)
    }
}

impl<K, V> Detached<K, V>
where
    K: Hash + Eq + Send + 'static,
    V: Clone + Send + 'static,
{
    /// As [`Flight::run`], on a task of the current runtime. Cancel-safe: the work goes on.
    ///
    /// # Errors
    /// The work panicked, its runtime was shut down, or this is called by the work itself.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn run<F>(&self, key: K, work: F) -> Result<V, FlightError>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let table = &self.0.table;
        // Before anything is in the table that would need a task.
        let runtime = tokio::runtime::Handle::current();
        let (entry, begun) = table.join(key, Work::detached);
        if begun {
            let end = End {
                table: table.clone(),
                entry: entry.clone(),
                ended: false,
            };
            let work = ambient::current().unbound().scope(work);
            drop(runtime.spawn(drive(work, end)));
        } else {
            // Brought in vain: what it holds is not to wait, too.
            drop(work);
        }
        Waiter::new(table, entry).await
    }

    /// The keys, to [`forget`](Flight::forget) or count them.
    #[must_use]
    pub fn flight(&self) -> &Flight<K, V> {
        &self.0
    }
}

async fn drive<K, V, F>(work: F, mut end: End<K, V>)
where
    K: Hash + Eq,
    V: Clone + Send + 'static,
    F: Future<Output = V>,
{
    let mut work = pin!(work);
    let driven = end.entry.work.clone();
    let polled = poll_fn(|cx| match driven.drive(|| work.as_mut().poll(cx)) {
        Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(panicked) => Poll::Ready(Err(panicked)),
    });
    let outcome = polled.await;
    end.with(outcome);
}

/// Tells the waiters of the end, also when the task is dropped before it.
struct End<K: Hash + Eq, V: Clone + Send + 'static> {
    table: Arc<Table<K, V>>,
    entry: Entry<V>,
    ended: bool,
}

impl<K: Hash + Eq, V: Clone + Send + 'static> End<K, V> {
    fn with(&mut self, outcome: Outcome<V>) {
        self.ended = true;
        self.table.end(&self.entry, outcome);
    }
}

impl<K: Hash + Eq, V: Clone + Send + 'static> Drop for End<K, V> {
    fn drop(&mut self) {
        if !self.ended {
            self.with(Err(FlightError::RuntimeEnded));
        }
    }
}
