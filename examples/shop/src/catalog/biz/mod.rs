//! What the catalog is about: products, and stock that is set aside for orders.
//!
//! Commands alone. What only reads has no rules to obey and goes straight to the tables
//! (`catalog::data::Views`).

mod product;
mod reservation;

#[cfg(test)]
mod tests;

pub use product::{MOST_OF_ONE, Product, ProductId};
pub use reservation::{Held, Reservation, ReservationId, State, Wanted};

use std::future::Future;

use crate::pkg::{Failure, Money, Time};

/// Why a command was not done.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such product.
    #[error("there is no product {0}")]
    NoProduct(ProductId),
    /// Fewer are left than are wanted.
    #[error("of product {product} only {left} are left")]
    OutOfStock {
        /// Of which.
        product: ProductId,
        /// How many there are.
        left: u32,
    },
    /// Nothing, or none or too many of one.
    #[error("nothing is wanted, or none or more than {MOST_OF_ONE} of one")]
    Wanted,
    /// There is none, or it is no longer held.
    #[error("reservation {0} is not held")]
    NotHeld(ReservationId),
    /// The store failed.
    #[error("store: {0}")]
    Store(Failure),
}

impl Error {
    /// The store failed.
    pub fn store(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Store(Failure::new(error))
    }
}

/// Where products and reservations are kept.
pub trait Store: Send + Sync + 'static {
    /// Work that is done whole, or not at all.
    type Tx: Tx;

    /// Begins such work.
    fn begin(&self) -> impl Future<Output = Result<Self::Tx, Error>> + Send;
    /// The reservation, with its lines.
    fn reservation(
        &self,
        id: &ReservationId,
    ) -> impl Future<Output = Result<Option<Reservation>, Error>> + Send;
    /// Some that were to be confirmed by `now` and were not.
    fn lapsed(
        &self,
        now: Time,
        most: u32,
    ) -> impl Future<Output = Result<Vec<ReservationId>, Error>> + Send;
}

/// Work that is done whole when it is committed. Dropped, nothing of it was done.
pub trait Tx: Send {
    /// Keeps a new reservation, as yet without lines; `false` where there is one of that id.
    fn insert(
        &mut self,
        id: &ReservationId,
        until: Time,
    ) -> impl Future<Output = Result<bool, Error>> + Send;
    /// Takes so many from the stock, and tells what was taken.
    fn take(
        &mut self,
        id: &ReservationId,
        wanted: Wanted,
    ) -> impl Future<Output = Result<Held, Error>> + Send;
    /// Puts them back.
    fn put_back(&mut self, held: &Held) -> impl Future<Output = Result<(), Error>> + Send;
    /// Changes the state; `false` where it is not one of `from`.
    fn turn(
        &mut self,
        id: &ReservationId,
        from: &[State],
        to: State,
    ) -> impl Future<Output = Result<bool, Error>> + Send;
    /// The price of a product; `false` where there is none.
    fn reprice(
        &mut self,
        product: ProductId,
        price: Money,
    ) -> impl Future<Output = Result<bool, Error>> + Send;
    /// It is done.
    fn commit(self) -> impl Future<Output = Result<(), Error>> + Send;
}

/// The commands.
#[derive(Clone, Debug)]
pub struct Catalog<S> {
    store: S,
}

impl<S: Store> Catalog<S> {
    /// Over this store.
    pub fn new(store: S) -> Self {
        Self { store }
    }

    /// Sets stock aside until `until`, all that is wanted or nothing. Asked again with the same id
    /// it answers what it answered before.
    ///
    /// # Errors
    /// Not enough of one, no such product, it was put back already, or the store fails.
    pub async fn reserve(
        &self,
        id: &ReservationId,
        wanted: &[Wanted],
        until: Time,
    ) -> Result<Reservation, Error> {
        let wanted = reservation::in_order(wanted)?;
        if let Some(known) = self.store.reservation(id).await? {
            return known.if_held();
        }
        let mut tx = self.store.begin().await?;
        if !tx.insert(id, until).await? {
            drop(tx);
            let known = self.store.reservation(id).await?;
            return known.ok_or_else(|| Error::NotHeld(id.clone()))?.if_held();
        }
        let mut lines = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            lines.push(tx.take(id, wanted).await?);
        }
        tx.commit().await?;
        Ok(Reservation {
            id: id.clone(),
            state: State::Held,
            until,
            lines,
        })
    }

    /// It was paid for: what was set aside is sold.
    ///
    /// # Errors
    /// It is not held any more, or the store fails.
    pub async fn confirm(&self, id: &ReservationId) -> Result<(), Error> {
        let mut tx = self.store.begin().await?;
        let held = [State::Held, State::Sold];
        if !tx.turn(id, &held, State::Sold).await? {
            return Err(Error::NotHeld(id.clone()));
        }
        tx.commit().await
    }

    /// Puts back what was set aside, sold or not. Does nothing where that was done.
    ///
    /// # Errors
    /// The store fails.
    pub async fn release(&self, id: &ReservationId) -> Result<(), Error> {
        let held = [State::Held, State::Sold];
        self.put_back(id, &held).await.map(|_| ())
    }

    /// Puts back up to `most` that were neither confirmed nor released in time: how many.
    ///
    /// # Errors
    /// The store fails.
    pub async fn expire(&self, now: Time, most: u32) -> Result<u32, Error> {
        let mut count = 0;
        for id in self.store.lapsed(now, most).await? {
            count += u32::from(self.put_back(&id, &[State::Held]).await?);
        }
        Ok(count)
    }

    /// Changes a price; orders that were placed keep theirs.
    ///
    /// # Errors
    /// No such product, or the store fails.
    pub async fn reprice(&self, product: ProductId, price: Money) -> Result<(), Error> {
        let mut tx = self.store.begin().await?;
        if !tx.reprice(product, price).await? {
            return Err(Error::NoProduct(product));
        }
        tx.commit().await
    }

    async fn put_back(&self, id: &ReservationId, from: &[State]) -> Result<bool, Error> {
        let Some(known) = self.store.reservation(id).await? else {
            return Ok(false);
        };
        let mut tx = self.store.begin().await?;
        if !tx.turn(id, from, State::Released).await? {
            return Ok(false);
        }
        for held in &known.lines {
            tx.put_back(held).await?;
        }
        tx.commit().await?;
        Ok(true)
    }
}
