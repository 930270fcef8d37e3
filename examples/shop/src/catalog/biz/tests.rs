//! Rules of the catalog, with a hand-written fake of its store.
//!
//! The fake keeps what a transaction did in a copy, and puts it in place when it commits: little
//! more than a map, and it behaves as a database would where the rules can tell.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Default)]
struct Tables {
    products: BTreeMap<ProductId, Product>,
    reservations: BTreeMap<String, Reservation>,
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Tables>>);

struct FakeTx {
    tables: Tables,
    store: Fake,
}

impl Fake {
    fn with(products: &[(u32, u64, u32)]) -> Self {
        let fake = Self::default();
        for &(id, cents, stock) in products {
            let id = ProductId(id);
            let product = Product {
                id,
                title: format!("product {id}"),
                price: Money::cents(cents).expect("small"),
                stock,
            };
            fake.0.lock().expect("lock").products.insert(id, product);
        }
        fake
    }

    fn stock(&self, id: u32) -> u32 {
        self.0.lock().expect("lock").products[&ProductId(id)].stock
    }
}

impl Store for Fake {
    type Tx = FakeTx;

    async fn begin(&self) -> Result<FakeTx, Error> {
        Ok(FakeTx {
            tables: self.0.lock().expect("lock").clone(),
            store: self.clone(),
        })
    }

    async fn reservation(&self, id: &ReservationId) -> Result<Option<Reservation>, Error> {
        let tables = self.0.lock().expect("lock");
        Ok(tables.reservations.get(&id.0).cloned())
    }

    async fn lapsed(&self, now: Time, most: u32) -> Result<Vec<ReservationId>, Error> {
        let tables = self.0.lock().expect("lock");
        let lapsed = |r: &&Reservation| r.state == State::Held && r.until <= now;
        let ids = tables.reservations.values().filter(lapsed);
        Ok(ids.take(most as usize).map(|r| r.id.clone()).collect())
    }
}

impl Tx for FakeTx {
    async fn insert(&mut self, id: &ReservationId, until: Time) -> Result<bool, Error> {
        let new = Reservation {
            id: id.clone(),
            state: State::Held,
            until,
            lines: Vec::new(),
        };
        let old = self.tables.reservations.insert(id.0.clone(), new);
        Ok(old.is_none())
    }

    async fn take(&mut self, id: &ReservationId, wanted: Wanted) -> Result<Held, Error> {
        let product = self.tables.products.get_mut(&wanted.product);
        let product = product.ok_or(Error::NoProduct(wanted.product))?;
        product.take(wanted.quantity)?;
        let held = Held {
            product: product.id,
            title: product.title.clone(),
            price: product.price,
            quantity: wanted.quantity,
        };
        let reservation = self.tables.reservations.get_mut(&id.0);
        reservation.expect("inserted").lines.push(held.clone());
        Ok(held)
    }

    async fn put_back(&mut self, held: &Held) -> Result<(), Error> {
        let product = self.tables.products.get_mut(&held.product);
        product.expect("was taken").stock += held.quantity;
        Ok(())
    }

    async fn turn(&mut self, id: &ReservationId, from: &[State], to: State) -> Result<bool, Error> {
        let reservation = self.tables.reservations.get_mut(&id.0);
        let Some(reservation) = reservation.filter(|r| from.contains(&r.state)) else {
            return Ok(false);
        };
        reservation.state = to;
        Ok(true)
    }

    async fn reprice(&mut self, product: ProductId, price: Money) -> Result<bool, Error> {
        let product = self.tables.products.get_mut(&product);
        Ok(product.map(|product| product.price = price).is_some())
    }

    async fn commit(self) -> Result<(), Error> {
        *self.store.0.lock().expect("lock") = self.tables;
        Ok(())
    }
}

const UNTIL: u64 = 1_000;

fn id(text: &str) -> ReservationId {
    ReservationId(text.to_owned())
}

fn wanted(lines: &[(u32, u32)]) -> Vec<Wanted> {
    let line = |&(id, quantity): &(u32, u32)| Wanted {
        product: ProductId(id),
        quantity,
    };
    lines.iter().map(line).collect()
}

#[tokio::test]
async fn what_is_reserved_is_taken_and_told_with_its_price() {
    let store = Fake::with(&[(1, 250, 5)]);
    let catalog = Catalog::new(store.clone());
    let until = Time::from_millis(UNTIL);
    let held = catalog.reserve(&id("a"), &wanted(&[(1, 2)]), until).await;
    assert_eq!(held.expect("in stock").lines[0].price.in_cents(), 250);
    assert_eq!(store.stock(1), 3);
}

#[tokio::test]
async fn reserving_twice_takes_once() {
    let store = Fake::with(&[(1, 250, 5)]);
    let catalog = Catalog::new(store.clone());
    let until = Time::from_millis(UNTIL);
    let first = catalog.reserve(&id("a"), &wanted(&[(1, 2)]), until).await;
    catalog
        .reprice(ProductId(1), Money::MOST)
        .await
        .expect("there");
    let again = catalog.reserve(&id("a"), &wanted(&[(1, 2)]), until).await;
    assert_eq!(first, again);
    assert_eq!(store.stock(1), 3);
}

#[tokio::test]
async fn a_product_may_be_wanted_twice() {
    let store = Fake::with(&[(1, 250, 5)]);
    let catalog = Catalog::new(store.clone());
    let (until, twice) = (Time::from_millis(UNTIL), wanted(&[(1, 2), (1, 1)]));
    let held = catalog.reserve(&id("a"), &twice, until).await;
    assert_eq!(held.expect("in stock").lines.len(), 2);
    assert_eq!(store.stock(1), 2);
}

#[tokio::test]
async fn all_or_nothing_is_taken() {
    let store = Fake::with(&[(1, 250, 5), (2, 100, 1)]);
    let catalog = Catalog::new(store.clone());
    let until = Time::from_millis(UNTIL);
    let both = wanted(&[(1, 2), (2, 2)]);
    let out = Error::OutOfStock {
        product: ProductId(2),
        left: 1,
    };
    assert_eq!(catalog.reserve(&id("a"), &both, until).await, Err(out));
    assert_eq!((store.stock(1), store.stock(2)), (5, 1));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_before_the_store_is_asked() {
    let catalog = Catalog::new(Fake::default());
    let until = Time::from_millis(UNTIL);
    for lines in [&[][..], &[(1, 0)], &[(1, u32::MAX)]] {
        let refused = catalog.reserve(&id("a"), &wanted(lines), until).await;
        assert_eq!(refused, Err(Error::Wanted), "{lines:?}");
    }
}

#[tokio::test]
async fn what_nobody_paid_for_goes_back_and_cannot_be_confirmed() {
    let store = Fake::with(&[(1, 250, 5)]);
    let catalog = Catalog::new(store.clone());
    let until = Time::from_millis(UNTIL);
    catalog
        .reserve(&id("a"), &wanted(&[(1, 2)]), until)
        .await
        .expect("in stock");
    catalog
        .reserve(&id("b"), &wanted(&[(1, 1)]), until)
        .await
        .expect("in stock");
    catalog.confirm(&id("b")).await.expect("held");
    assert_eq!(catalog.expire(Time::from_millis(UNTIL - 1), 9).await, Ok(0));
    assert_eq!(catalog.expire(Time::from_millis(UNTIL), 9).await, Ok(1));
    assert_eq!(store.stock(1), 4);
    let late = catalog.confirm(&id("a")).await;
    assert_eq!(late, Err(Error::NotHeld(id("a"))));
}

proptest! {
    /// Whatever is done in whatever order, nothing is lost and nothing comes from nowhere.
    #[test]
    fn stock_and_what_is_held_are_what_there_was(
        steps in proptest::collection::vec((0..4_u8, 0..3_u8, 1..4_u32), 0..40),
    ) {
        let store = Fake::with(&[(1, 100, 7)]);
        let catalog = Catalog::new(store.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        runtime.block_on(async {
            for (what, which, quantity) in steps {
                let id = id(&which.to_string());
                let until = Time::from_millis(u64::from(which));
                let _ = match what {
                    0 => catalog.reserve(&id, &wanted(&[(1, quantity)]), until).await.map(|_| ()),
                    1 => catalog.confirm(&id).await,
                    2 => catalog.release(&id).await,
                    _ => catalog.expire(Time::from_millis(1), 2).await.map(|_| ()),
                };
                let tables = store.0.lock().expect("lock");
                let held = tables.reservations.values().filter(|r| r.state != State::Released);
                let held: u32 = held.flat_map(|r| &r.lines).map(|line| line.quantity).sum();
                let stock = tables.products[&ProductId(1)].stock;
                assert_eq!(stock + held, 7);
            }
        });
    }
}
