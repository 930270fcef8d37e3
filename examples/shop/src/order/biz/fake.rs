//! A store of orders that is a map, written by hand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::*;
use crate::pkg::{Money, Time};

#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    pub(super) orders: BTreeMap<String, Order>,
    pub(super) untold: Vec<Event>,
}

/// What a transaction did is kept in a copy, and put in place when it commits.
#[derive(Clone, Debug, Default)]
pub(super) struct Fake(pub(super) Arc<Mutex<Tables>>);

pub(super) struct FakeTx {
    tables: Tables,
    store: Fake,
}

impl Fake {
    pub(super) fn tables(&self) -> Tables {
        self.0.lock().expect("lock").clone()
    }
}

impl Store for Fake {
    type Tx = FakeTx;

    async fn begin(&self, _: &str) -> Result<FakeTx, Error> {
        Ok(FakeTx {
            tables: self.tables(),
            store: self.clone(),
        })
    }

    async fn find(&self, id: &OrderId) -> Result<Option<Order>, Error> {
        Ok(self.tables().orders.get(&id.0).cloned())
    }

    async fn overdue(&self, now: Time, most: u32) -> Result<Vec<Order>, Error> {
        let overdue = |order: &Order| order.status == Status::Unpaid && order.pay_by <= now;
        let orders = self.tables().orders.into_values();
        Ok(orders.filter(overdue).take(most as usize).collect())
    }

    async fn untold(&self, most: u32) -> Result<Vec<Event>, Error> {
        let untold = self.tables().untold.into_iter();
        Ok(untold.take(most as usize).collect())
    }

    async fn told(&self, event: &Event) -> Result<(), Error> {
        self.0.lock().expect("lock").untold.retain(|e| e != event);
        Ok(())
    }
}

impl Tx for FakeTx {
    async fn insert(&mut self, order: &Order) -> Result<bool, Error> {
        let old = self.tables.orders.insert(order.id.0.clone(), order.clone());
        Ok(old.is_none())
    }

    async fn turn(&mut self, id: &OrderId, from: Status, to: Status) -> Result<bool, Error> {
        let order = self.tables.orders.get_mut(&id.0);
        let Some(order) = order.filter(|order| order.status == from) else {
            return Ok(false);
        };
        order.status = to;
        Ok(true)
    }

    async fn append(&mut self, event: &Event) -> Result<(), Error> {
        self.tables.untold.push(event.clone());
        Ok(())
    }

    async fn commit(self) -> Result<(), Error> {
        *self.store.0.lock().expect("lock") = self.tables;
        Ok(())
    }
}

/// So many of product 1, by `ann` under the key `k`.
pub(super) fn place(quantity: u32) -> Place {
    Place {
        customer: "ann".to_owned(),
        key: "k".to_owned(),
        lines: vec![Wanted {
            product: ProductId(1),
            quantity,
        }],
    }
}

/// What the catalog says of what is wanted, at a price of 2.50.
pub(super) fn lines(wanted: &[Wanted]) -> Vec<Line> {
    let line = |wanted: &Wanted| Line {
        product: wanted.product,
        title: "tea".to_owned(),
        price: Money::cents(250).expect("small"),
        quantity: wanted.quantity,
    };
    wanted.iter().map(line).collect()
}
