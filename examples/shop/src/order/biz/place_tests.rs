//! Rules of placing and paying, with hand-written fakes.
//!
//! A fake behaves: it can be asked anything in any order, so a test says what is to be true
//! afterwards, and not which calls lead there.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::fake::{Fake, lines, place};
use super::*;
use crate::pkg::Time;

const TERMS: Terms = Terms {
    pay_within: Duration::from_millis(100),
};
const NOW: Time = Time::from_millis(1_000);

/// A catalog with as much as anybody wants, which counts, and fails when told.
#[derive(Clone, Default)]
struct Plenty {
    reserved: Arc<AtomicU32>,
    fails: Arc<Mutex<Option<Error>>>,
}

impl Plenty {
    fn fail(&self, error: Option<Error>) {
        *self.fails.lock().expect("lock") = error;
    }

    fn answer<T>(&self, answer: T) -> Result<T, Error> {
        let fails = self.fails.lock().expect("lock").clone();
        fails.map_or(Ok(answer), Err)
    }
}

impl Stock for Plenty {
    async fn reserve(&self, _: &OrderId, wanted: &[Wanted], _: Time) -> Result<Vec<Line>, Error> {
        self.reserved.fetch_add(1, Relaxed);
        self.answer(lines(wanted))
    }

    async fn confirm(&self, _: &OrderId) -> Result<(), Error> {
        self.answer(())
    }

    async fn release(&self, _: &OrderId) -> Result<(), Error> {
        self.answer(())
    }
}

fn shop() -> (Orders<Fake, Plenty>, Fake, Plenty) {
    let (store, stock) = (Fake::default(), Plenty::default());
    let orders = Orders::new(store.clone(), stock.clone(), TERMS);
    (orders, store, stock)
}

#[tokio::test]
async fn an_order_is_kept_with_its_price_and_its_event() {
    let (orders, store, _) = shop();
    let order = orders.place(&place(2), NOW).await.expect("placed");
    assert_eq!(order.total.in_cents(), 500);
    assert_eq!(order.pay_by, Time::from_millis(1_100));
    let tables = store.tables();
    assert_eq!(tables.orders[&order.id.0], order);
    assert_eq!(tables.untold, [Event::of(&order, What::Placed, NOW)]);
}

#[tokio::test]
async fn the_same_key_is_the_same_order() {
    let (orders, store, stock) = shop();
    let first = orders.place(&place(2), NOW).await;
    let later = Time::from_millis(9_000);
    assert_eq!(orders.place(&place(2), later).await, first);
    assert_eq!(orders.place(&place(3), NOW).await, Err(Error::KeyUsed));
    assert_eq!(store.tables().untold.len(), 1);
    assert_eq!(stock.reserved.load(Relaxed), 1);
}

#[tokio::test]
async fn without_stock_there_is_no_order() {
    let (orders, store, stock) = shop();
    let out = Error::OutOfStock {
        product: ProductId(1),
        left: 1,
    };
    stock.fail(Some(out.clone()));
    assert_eq!(orders.place(&place(2), NOW).await, Err(out));
    assert!(store.tables().orders.is_empty());
}

#[tokio::test]
async fn a_payment_counts_once_and_in_time() {
    let (orders, store, _) = shop();
    let order = orders.place(&place(2), NOW).await.expect("placed");
    let late = orders.pay(&order.id, order.pay_by).await;
    assert_eq!(late, Err(Error::TooLate));
    let paid = orders.pay(&order.id, NOW).await.expect("in time");
    assert_eq!(paid.status, Status::Paid);
    assert_eq!(orders.pay(&order.id, order.pay_by).await, Ok(paid));
    let events = store.tables().untold;
    assert_eq!(events.len(), 2, "placed, and paid once: {events:?}");
}

#[tokio::test]
async fn what_the_catalog_took_back_is_not_paid_for() {
    let (orders, store, stock) = shop();
    let order = orders.place(&place(2), NOW).await.expect("placed");
    stock.fail(Some(Error::TooLate));
    assert_eq!(orders.pay(&order.id, NOW).await, Err(Error::TooLate));
    assert_eq!(store.tables().orders[&order.id.0].status, Status::Unpaid);
}

#[tokio::test]
async fn an_order_that_is_not_there_cannot_be_paid() {
    let (orders, ..) = shop();
    let id = OrderId("none".to_owned());
    let missing = orders.pay(&id, NOW).await;
    assert_eq!(missing, Err(Error::NoOrder(id)));
}

#[test]
fn ids_of_different_customers_and_keys_differ() {
    assert_eq!(OrderId::of("ann", "k"), OrderId::of("ann", "k"));
    assert_ne!(OrderId::of("ann", "bob"), OrderId::of("annb", "ob"));
}
