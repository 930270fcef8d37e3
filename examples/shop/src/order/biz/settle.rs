//! What is done about orders by themselves, now and then: what is not paid expires, what happened
//! is told.

use super::{Error, Event, Status, Stock, Store, Tell, Tx as _, What};
use crate::pkg::Time;

/// The commands of the clock. Any number of them may run at once: what two do, is done once, or
/// may be done twice.
#[derive(Clone, Debug)]
pub struct Settle<S, C, T> {
    store: S,
    stock: C,
    tell: T,
}

/// How far the telling came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Events that were heard.
    pub heard: u32,
    /// Events that nobody heard yet, and that are told again.
    pub failed: u32,
}

impl<S: Store, C: Stock, T: Tell> Settle<S, C, T> {
    /// Over this store; stock goes back there, events go there.
    pub fn new(store: S, stock: C, tell: T) -> Self {
        Self { store, stock, tell }
    }

    /// Up to `most` orders that were not paid in time expire: how many did.
    ///
    /// Their stock does not go back here but when the event is told, so that it goes back even
    /// where the catalog cannot be reached now.
    ///
    /// # Errors
    /// The store fails.
    pub async fn expire(&self, now: Time, most: u32) -> Result<u32, Error> {
        let mut count = 0;
        for order in self.store.overdue(now, most).await? {
            let mut tx = self.store.begin(&order.customer).await?;
            if tx.turn(&order.id, Status::Unpaid, Status::Expired).await? {
                tx.append(&Event::of(&order, What::Expired, now)).await?;
                tx.commit().await?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Tells up to `most` events. One that nobody hears keeps no other from being told.
    ///
    /// # Errors
    /// The store fails.
    pub async fn tell(&self, most: u32) -> Result<Told, Error> {
        let mut told = Told::default();
        for event in self.store.untold(most).await? {
            match self.hear(&event).await {
                Ok(()) => {
                    self.store.told(&event).await?;
                    told.heard += 1;
                }
                Err(_) => told.failed += 1,
            }
        }
        Ok(told)
    }

    async fn hear(&self, event: &Event) -> Result<(), Error> {
        if event.what == What::Expired {
            self.stock.release(&event.order).await?;
        }
        self.tell.tell(event).await
    }
}
