//! Placing an order, and paying for it.

use std::time::Duration;

use super::{Error, Event, Order, OrderId, Place, Status, Stock, Store, Tx as _, What};
use crate::pkg::Time;

/// Stock is set aside for longer than there is time to pay, so that what is paid at the last
/// moment is still there.
const SPARE: Duration = Duration::from_secs(60);

/// What the shop grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long there is to pay.
    pub pay_within: Duration,
}

/// The commands of whoever orders.
#[derive(Clone, Debug)]
pub struct Orders<S, C> {
    store: S,
    stock: C,
    terms: Terms,
}

impl<S: Store, C: Stock> Orders<S, C> {
    /// Over this store, with stock from there.
    pub fn new(store: S, stock: C, terms: Terms) -> Self {
        Self {
            store,
            stock,
            terms,
        }
    }

    /// Places an order. Asked again with the same key it answers with the order that is there, and
    /// places none; so it may be called until there is an answer.
    ///
    /// The stock is set aside before the order is kept: a crash in between leaves stock that is
    /// held for nobody, which the catalog takes back by itself, and never an order without stock.
    ///
    /// # Errors
    /// The key was used for something else, not enough is there, or whoever is needed fails.
    pub async fn place(&self, place: &Place, now: Time) -> Result<Order, Error> {
        let id = OrderId::of(&place.customer, &place.key);
        if let Some(known) = self.store.find(&id).await? {
            return known.if_same(place);
        }
        let until = now.after(self.terms.pay_within).after(SPARE);
        let lines = self.stock.reserve(&id, &place.lines, until).await?;
        let order = Order::new(place, lines, now, self.terms.pay_within)?.if_same(place)?;
        let mut tx = self.store.begin(&order.customer).await?;
        if !tx.insert(&order).await? {
            drop(tx);
            let known = self.store.find(&id).await?.ok_or(Error::NoOrder(id))?;
            return known.if_same(place);
        }
        tx.append(&Event::of(&order, What::Placed, now)).await?;
        tx.commit().await?;
        Ok(order)
    }

    /// Pays for it. What is paid is not paid again.
    ///
    /// # Errors
    /// There is none, it is too late, or whoever is needed fails.
    pub async fn pay(&self, id: &OrderId, now: Time) -> Result<Order, Error> {
        let mut order = self.find(id).await?;
        order.payable(now)?;
        if order.status == Status::Paid {
            return Ok(order);
        }
        self.stock.confirm(id).await?;
        let mut tx = self.store.begin(&order.customer).await?;
        if !tx.turn(id, Status::Unpaid, Status::Paid).await? {
            drop(tx);
            let order = self.find(id).await?;
            return order.payable(now).map(|()| order);
        }
        tx.append(&Event::of(&order, What::Paid, now)).await?;
        tx.commit().await?;
        order.status = Status::Paid;
        Ok(order)
    }

    async fn find(&self, id: &OrderId) -> Result<Order, Error> {
        let found = self.store.find(id).await?;
        found.ok_or_else(|| Error::NoOrder(id.clone()))
    }
}
