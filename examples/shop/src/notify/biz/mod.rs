//! What is to be told to whom and when, and how often that is tried.

mod notice;

#[cfg(test)]
mod tests;

pub use notice::{Happened, Kind, Notice, Order, State};

use std::future::Future;
use std::time::Duration;

use crate::pkg::{Failure, Time};

/// How often a notice is tried.
pub const ATTEMPTS: u32 = 5;

/// How long the first pause between attempts is; each next one is twice as long.
const PAUSE: Duration = Duration::from_secs(2);

/// How long what is due is one worker's alone; one that dies in between leaves it to the others.
const CLAIM: Duration = Duration::from_secs(30);

/// Why it was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error("store: {0}")]
    Store(Failure),
    /// The mail was not taken.
    #[error("mail: {0}")]
    Mail(String),
}

impl Error {
    /// The store failed.
    pub fn store(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Store(Failure::new(error))
    }
}

/// Where notices are kept.
pub trait Store: Send + Sync + 'static {
    /// Keeps a notice, unless there is one of its order and kind.
    fn keep(&self, notice: &Notice) -> impl Future<Output = Result<(), Error>> + Send;
    /// One of that order and kind is not to be sent, whether it is there yet or not.
    fn cancel(
        &self,
        order: &str,
        kind: Kind,
        customer: &str,
    ) -> impl Future<Output = Result<(), Error>> + Send;
    /// Some that are due, for whoever asks alone: nobody else gets them before `until`.
    fn claim(
        &self,
        now: Time,
        until: Time,
        most: u32,
    ) -> impl Future<Output = Result<Vec<Notice>, Error>> + Send;
    /// How it went with one.
    fn settle(&self, notice: &Notice) -> impl Future<Output = Result<(), Error>> + Send;
}

/// What brings a notice to its customer.
pub trait Mail: Send + Sync + 'static {
    /// Sends it.
    fn send(&self, notice: &Notice) -> impl Future<Output = Result<(), Error>> + Send;
}

/// The commands.
#[derive(Clone, Debug)]
pub struct Notices<S> {
    store: S,
}

impl<S: Store> Notices<S> {
    /// Over this store.
    pub fn new(store: S) -> Self {
        Self { store }
    }

    /// Hears what became of an order. Hearing it twice, or of the payment before the order, comes
    /// to the same.
    ///
    /// # Errors
    /// The store fails.
    pub async fn hear(&self, what: Happened, order: &Order, at: Time) -> Result<(), Error> {
        if what != Happened::Placed {
            let customer = &order.customer;
            self.store
                .cancel(&order.id, Kind::Reminder, customer)
                .await?;
        }
        self.store.keep(&Notice::of(what, order, at)).await
    }

    /// Sends up to `most` that are due: how many were sent, and how many were not.
    ///
    /// # Errors
    /// The store fails.
    pub async fn send<M: Mail>(&self, mail: &M, now: Time, most: u32) -> Result<(u32, u32), Error> {
        let (mut sent, mut failed) = (0, 0);
        for notice in self.store.claim(now, now.after(CLAIM), most).await? {
            let went = mail.send(&notice).await.is_ok();
            if went {
                sent += 1;
            } else {
                failed += 1;
            }
            self.store.settle(&notice.tried(went, now)).await?;
        }
        Ok((sent, failed))
    }
}
