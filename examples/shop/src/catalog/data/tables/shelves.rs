//! Products and reservations in tables, as the business needs them.

use seawall::data::{self, Connection, Database, Transaction};

use super::{Db, broken};
use crate::catalog::biz::{
    Error, Held, ProductId, Reservation, ReservationId, State, Store, Tx, Wanted,
};
use crate::pkg::{Money, Time, number};

/// Products and reservations in a database.
#[derive(Clone, Debug)]
pub struct Shelves {
    database: Database<Db>,
}

/// A transaction of it; rolled back when dropped.
#[derive(Debug)]
pub struct ShelfTx {
    tx: Transaction<Db>,
    lines: i64,
}

impl Shelves {
    /// Over this database.
    #[must_use]
    pub fn new(database: Database<Db>) -> Self {
        Self { database }
    }

    /// Where it is as it was last written by anybody.
    async fn primary(&self) -> Result<Connection<Db>, Error> {
        self.database.write().await.map_err(broken)
    }
}

impl Store for Shelves {
    type Tx = ShelfTx;

    async fn begin(&self) -> Result<ShelfTx, Error> {
        let tx = self.database.begin().await.map_err(broken)?;
        Ok(ShelfTx { tx, lines: 0 })
    }

    async fn reservation(&self, id: &ReservationId) -> Result<Option<Reservation>, Error> {
        let head: Option<(i64, i64)> =
            sqlx::query_as("SELECT state, held_until FROM reservations WHERE id = ?")
                .bind(&id.0)
                .fetch_optional(&mut self.primary().await?)
                .await
                .map_err(broken)?;
        let Some((state, until)) = head else {
            return Ok(None);
        };
        let lines: Vec<(i64, String, i64, i64)> = sqlx::query_as(
            "SELECT product_id, title, price, quantity FROM reservation_lines
             WHERE reservation_id = ? ORDER BY position",
        )
        .bind(&id.0)
        .fetch_all(&mut self.primary().await?)
        .await
        .map_err(broken)?;
        let lines = lines.into_iter().map(|(product, title, price, quantity)| {
            Ok(Held {
                product: ProductId(number::small(product)),
                title,
                price: Money::cents(number::unsigned(price)).map_err(Error::store)?,
                quantity: number::small(quantity),
            })
        });
        Ok(Some(Reservation {
            id: id.clone(),
            state: state_of(state)?,
            until: Time::from_millis(number::unsigned(until)),
            lines: lines.collect::<Result<_, Error>>()?,
        }))
    }

    async fn lapsed(&self, now: Time, most: u32) -> Result<Vec<ReservationId>, Error> {
        let ids: Vec<(String,)> = sqlx::query_as(
            "SELECT id FROM reservations WHERE state = ? AND held_until <= ?
             ORDER BY held_until LIMIT ?",
        )
        .bind(number_of(State::Held))
        .bind(number::signed(now.millis()))
        .bind(i64::from(most))
        .fetch_all(&mut self.primary().await?)
        .await
        .map_err(broken)?;
        Ok(ids.into_iter().map(|(id,)| ReservationId(id)).collect())
    }
}

impl Tx for ShelfTx {
    async fn insert(&mut self, id: &ReservationId, until: Time) -> Result<bool, Error> {
        let inserted =
            sqlx::query("INSERT INTO reservations (id, state, held_until) VALUES (?, ?, ?)")
                .bind(&id.0)
                .bind(number_of(State::Held))
                .bind(number::signed(until.millis()))
                .execute(&mut *self.tx)
                .await
                .map_err(data::Error::from);
        match inserted {
            Ok(_) => Ok(true),
            Err(error) if error.is_duplicate() => Ok(false),
            Err(error) => Err(Error::store(error)),
        }
    }

    async fn take(&mut self, id: &ReservationId, wanted: Wanted) -> Result<Held, Error> {
        let product = wanted.product;
        // One statement decides and takes, so that nobody comes between.
        let taken =
            sqlx::query("UPDATE products SET stock = stock - ? WHERE id = ? AND stock >= ?")
                .bind(i64::from(wanted.quantity))
                .bind(i64::from(product.0))
                .bind(i64::from(wanted.quantity))
                .execute(&mut *self.tx)
                .await
                .map_err(broken)?;
        let row: Option<(String, i64, i64)> =
            sqlx::query_as("SELECT title, price, stock FROM products WHERE id = ?")
                .bind(i64::from(product.0))
                .fetch_optional(&mut *self.tx)
                .await
                .map_err(broken)?;
        let (title, price, stock) = row.ok_or(Error::NoProduct(product))?;
        if taken.rows_affected() == 0 {
            let left = number::small(stock);
            return Err(Error::OutOfStock { product, left });
        }
        let held = Held {
            product,
            title,
            price: Money::cents(number::unsigned(price)).map_err(Error::store)?,
            quantity: wanted.quantity,
        };
        self.line(id, &held).await?;
        Ok(held)
    }

    async fn put_back(&mut self, held: &Held) -> Result<(), Error> {
        sqlx::query("UPDATE products SET stock = stock + ? WHERE id = ?")
            .bind(i64::from(held.quantity))
            .bind(i64::from(held.product.0))
            .execute(&mut *self.tx)
            .await
            .map_err(broken)?;
        Ok(())
    }

    async fn turn(&mut self, id: &ReservationId, from: &[State], to: State) -> Result<bool, Error> {
        let mut turned = 0;
        for &state in from {
            let statement = "UPDATE reservations SET state = ? WHERE id = ? AND state = ?";
            turned += sqlx::query(statement)
                .bind(number_of(to))
                .bind(&id.0)
                .bind(number_of(state))
                .execute(&mut *self.tx)
                .await
                .map_err(broken)?
                .rows_affected();
            if turned > 0 {
                break;
            }
        }
        Ok(turned > 0)
    }

    async fn reprice(&mut self, product: ProductId, price: Money) -> Result<bool, Error> {
        let priced = sqlx::query("UPDATE products SET price = ? WHERE id = ?")
            .bind(number::signed(price.in_cents()))
            .bind(i64::from(product.0))
            .execute(&mut *self.tx)
            .await
            .map_err(broken)?;
        Ok(priced.rows_affected() > 0)
    }

    async fn commit(self) -> Result<(), Error> {
        self.tx.commit().await.map_err(broken)
    }
}

impl ShelfTx {
    async fn line(&mut self, id: &ReservationId, held: &Held) -> Result<(), Error> {
        let position = self.lines;
        self.lines += 1;
        sqlx::query(
            "INSERT INTO reservation_lines
                 (reservation_id, position, product_id, title, price, quantity)
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(&id.0)
        .bind(position)
        .bind(i64::from(held.product.0))
        .bind(&held.title)
        .bind(number::signed(held.price.in_cents()))
        .bind(i64::from(held.quantity))
        .execute(&mut *self.tx)
        .await
        .map_err(broken)?;
        Ok(())
    }
}

fn number_of(state: State) -> i64 {
    match state {
        State::Held => 0,
        State::Sold => 1,
        State::Released => 2,
    }
}

fn state_of(number: i64) -> Result<State, Error> {
    match number {
        0 => Ok(State::Held),
        1 => Ok(State::Sold),
        2 => Ok(State::Released),
        _ => Err(Error::store(format!("no state of a reservation: {number}"))),
    }
}
