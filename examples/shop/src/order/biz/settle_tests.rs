//! What the clock does, with expectation mocks.
//!
//! A mock expects calls: right where the calls themselves are what matters, as here, where stock
//! must go back and events must be told *before* they count as told. Where what is true afterwards
//! matters, fakes say more (`place_tests`).

use std::future::{Future, ready};
use std::time::Duration;

use mockall::predicate::{always, eq};
use mockall::{Sequence, mock};

use super::fake::{Fake, lines, place};
use super::*;
use crate::pkg::Time;

mock! {
    Stock {}
    impl Stock for Stock {
        fn reserve(
            &self,
            order: &OrderId,
            wanted: &[Wanted],
            until: Time,
        ) -> impl Future<Output = Result<Vec<Line>, Error>> + Send;
        fn confirm(&self, order: &OrderId) -> impl Future<Output = Result<(), Error>> + Send;
        fn release(&self, order: &OrderId) -> impl Future<Output = Result<(), Error>> + Send;
    }
}

mock! {
    Tell {}
    impl Tell for Tell {
        fn tell(&self, event: &Event) -> impl Future<Output = Result<(), Error>> + Send;
    }
}

const NOW: Time = Time::from_millis(1_000);
const LATER: Time = Time::from_millis(5_000);

/// A store with an unpaid order, to be paid by 1100.
async fn unpaid() -> (Fake, Order) {
    let store = Fake::default();
    let mut stock = MockStock::new();
    stock
        .expect_reserve()
        .with(always(), eq(place(2).lines), eq(Time::from_millis(61_100)))
        .once()
        .returning(|_, wanted, _| Box::pin(ready(Ok(lines(wanted)))));
    let terms = Terms {
        pay_within: Duration::from_millis(100),
    };
    let orders = Orders::new(store.clone(), stock, terms);
    let order = orders.place(&place(2), NOW).await.expect("placed");
    (store, order)
}

#[tokio::test]
async fn what_is_not_paid_in_time_expires_once() {
    let (store, order) = unpaid().await;
    // Neither the catalog nor anybody else is asked: a mock without expectations fails on a call.
    let settle = Settle::new(store.clone(), MockStock::new(), MockTell::new());
    let early = order.pay_by.before(Duration::from_millis(1));
    assert_eq!(settle.expire(early, 9).await, Ok(0));
    assert_eq!(settle.expire(order.pay_by, 9).await, Ok(1));
    assert_eq!(settle.expire(LATER, 9).await, Ok(0));
    assert_eq!(store.tables().orders[&order.id.0].status, Status::Expired);
}

#[tokio::test]
async fn stock_goes_back_before_the_expiry_is_told() {
    let (store, order) = unpaid().await;
    let (mut stock, mut tell, mut sequence) = (MockStock::new(), MockTell::new(), Sequence::new());
    let is = |what: What| move |event: &Event| event.what == what;
    tell.expect_tell()
        .withf(is(What::Placed))
        .once()
        .in_sequence(&mut sequence)
        .returning(|_| Box::pin(ready(Ok(()))));
    stock
        .expect_release()
        .with(eq(order.id.clone()))
        .once()
        .in_sequence(&mut sequence)
        .returning(|_| Box::pin(ready(Ok(()))));
    tell.expect_tell()
        .withf(is(What::Expired))
        .once()
        .in_sequence(&mut sequence)
        .returning(|_| Box::pin(ready(Ok(()))));
    let settle = Settle::new(store.clone(), stock, tell);
    settle.expire(LATER, 9).await.expect("expired");
    let told = settle.tell(9).await.expect("told");
    assert_eq!((told.heard, told.failed), (2, 0));
    assert_eq!(settle.tell(9).await, Ok(Told::default()));
}

#[tokio::test]
async fn what_nobody_hears_is_told_again() {
    let (store, _) = unpaid().await;
    let (mut tell, mut sequence) = (MockTell::new(), Sequence::new());
    for answer in [Err(Error::Untold("away".to_owned())), Ok(())] {
        tell.expect_tell()
            .once()
            .in_sequence(&mut sequence)
            .returning(move |_| Box::pin(ready(answer.clone())));
    }
    let settle = Settle::new(store.clone(), MockStock::new(), tell);
    assert_eq!(settle.tell(9).await.map(|told| told.failed), Ok(1));
    assert_eq!(store.tables().untold.len(), 1);
    assert_eq!(settle.tell(9).await.map(|told| told.heard), Ok(1));
    assert!(store.tables().untold.is_empty());
}
