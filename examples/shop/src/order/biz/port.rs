//! What the business needs, in its own words.

use std::future::Future;

use super::{Error, Event, Line, Order, OrderId, Status, Wanted};
use crate::pkg::Time;

/// The catalog's stock.
pub trait Stock: Send + Sync + 'static {
    /// Sets it aside until `until`, all of it or nothing, at the prices of now. Asked again for
    /// the same order it answers the same.
    fn reserve(
        &self,
        order: &OrderId,
        wanted: &[Wanted],
        until: Time,
    ) -> impl Future<Output = Result<Vec<Line>, Error>> + Send;
    /// It is sold. [`Error::TooLate`] where it is no longer set aside.
    fn confirm(&self, order: &OrderId) -> impl Future<Output = Result<(), Error>> + Send;
    /// It goes back. Does nothing where it has gone.
    fn release(&self, order: &OrderId) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Where orders are kept.
pub trait Store: Send + Sync + 'static {
    /// Work that is done whole, or not at all.
    type Tx: Tx;

    /// Begins such work for this customer, who sees it in his lists as soon as it is done.
    fn begin(&self, customer: &str) -> impl Future<Output = Result<Self::Tx, Error>> + Send;
    /// An order, as it was last written by anybody.
    fn find(&self, id: &OrderId) -> impl Future<Output = Result<Option<Order>, Error>> + Send;
    /// Some that are unpaid and were to be paid by `now`, the oldest first.
    fn overdue(
        &self,
        now: Time,
        most: u32,
    ) -> impl Future<Output = Result<Vec<Order>, Error>> + Send;
    /// Some events that nobody has heard of, the oldest first.
    fn untold(&self, most: u32) -> impl Future<Output = Result<Vec<Event>, Error>> + Send;
    /// Somebody has heard of it.
    fn told(&self, event: &Event) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Work that is done whole when it is committed. Dropped, nothing of it was done.
pub trait Tx: Send {
    /// Keeps a new order; `false` where there is one of that id.
    fn insert(&mut self, order: &Order) -> impl Future<Output = Result<bool, Error>> + Send;
    /// Changes how it stands; `false` where that is not `from`.
    fn turn(
        &mut self,
        id: &OrderId,
        from: Status,
        to: Status,
    ) -> impl Future<Output = Result<bool, Error>> + Send;
    /// Keeps an event to be told.
    fn append(&mut self, event: &Event) -> impl Future<Output = Result<(), Error>> + Send;
    /// It is done.
    fn commit(self) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Whoever wants to know what became of orders.
pub trait Tell: Send + Sync + 'static {
    /// Returns when it is kept there. May be called twice with the same event.
    fn tell(&self, event: &Event) -> impl Future<Output = Result<(), Error>> + Send;
}
