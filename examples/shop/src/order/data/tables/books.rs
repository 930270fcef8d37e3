//! Orders and what happened to them in tables, as the business needs them.

use seawall::data::{self, Connection, Database, Transaction};

use super::{Db, broken};
use crate::order::biz::{Error, Event, Line, Order, OrderId, ProductId, Status, Store, Tx};
use crate::order::data::row;
use crate::pkg::{Money, Time, number};

/// Orders in a database.
#[derive(Clone, Debug)]
pub struct Books {
    database: Database<Db>,
}

/// A transaction of it; rolled back when dropped.
#[derive(Debug)]
pub struct BookTx {
    tx: Transaction<Db>,
}

type Head = (String, String, i64, i64, i64, i64);

impl Books {
    /// Over this database.
    #[must_use]
    pub fn new(database: Database<Db>) -> Self {
        Self { database }
    }

    /// Where it is as it was last written by anybody.
    async fn primary(&self) -> Result<Connection<Db>, Error> {
        self.database.write().await.map_err(broken)
    }

    async fn whole(&self, head: Head) -> Result<Order, Error> {
        let (id, customer, total, status, placed_at, pay_by) = head;
        let lines: Vec<(i64, String, i64, i64)> = sqlx::query_as(
            "SELECT product_id, title, price, quantity FROM order_lines
             WHERE order_id = ? ORDER BY position",
        )
        .bind(&id)
        .fetch_all(&mut self.primary().await?)
        .await
        .map_err(broken)?;
        let lines = lines.into_iter().map(|(product, title, price, quantity)| {
            Ok(Line {
                product: ProductId(number::small(product)),
                title,
                price: Money::cents(number::unsigned(price))?,
                quantity: number::small(quantity),
            })
        });
        Ok(Order {
            id: OrderId(id),
            customer,
            lines: lines.collect::<Result<_, Error>>()?,
            total: Money::cents(number::unsigned(total))?,
            status: row::status_of(status)?,
            placed_at: Time::from_millis(number::unsigned(placed_at)),
            pay_by: Time::from_millis(number::unsigned(pay_by)),
        })
    }
}

impl Store for Books {
    type Tx = BookTx;

    async fn begin(&self, customer: &str) -> Result<BookTx, Error> {
        let tx = self
            .database
            .write()
            .session(customer)
            .begin()
            .await
            .map_err(broken)?;
        Ok(BookTx { tx })
    }

    async fn find(&self, id: &OrderId) -> Result<Option<Order>, Error> {
        let head: Option<Head> = sqlx::query_as(
            "SELECT id, customer, total, status, placed_at, pay_by FROM orders WHERE id = ?",
        )
        .bind(&id.0)
        .fetch_optional(&mut self.primary().await?)
        .await
        .map_err(broken)?;
        match head {
            Some(head) => self.whole(head).await.map(Some),
            None => Ok(None),
        }
    }

    async fn overdue(&self, now: Time, most: u32) -> Result<Vec<Order>, Error> {
        let heads: Vec<Head> = sqlx::query_as(
            "SELECT id, customer, total, status, placed_at, pay_by FROM orders
             WHERE status = ? AND pay_by <= ? ORDER BY pay_by LIMIT ?",
        )
        .bind(row::number_of(Status::Unpaid))
        .bind(number::signed(now.millis()))
        .bind(i64::from(most))
        .fetch_all(&mut self.primary().await?)
        .await
        .map_err(broken)?;
        let mut orders = Vec::with_capacity(heads.len());
        for head in heads {
            orders.push(self.whole(head).await?);
        }
        Ok(orders)
    }

    async fn untold(&self, most: u32) -> Result<Vec<Event>, Error> {
        type Row = (String, i64, String, i64, i64, i64);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT order_id, what, customer, total, pay_by, happened_at FROM outbox
             ORDER BY happened_at LIMIT ?",
        )
        .bind(i64::from(most))
        .fetch_all(&mut self.primary().await?)
        .await
        .map_err(broken)?;
        let event = |(order, what, customer, total, pay_by, at): Row| {
            Ok(Event {
                order: OrderId(order),
                what: row::what_of(what)?,
                customer,
                total: Money::cents(number::unsigned(total))?,
                pay_by: Time::from_millis(number::unsigned(pay_by)),
                at: Time::from_millis(number::unsigned(at)),
            })
        };
        rows.into_iter().map(event).collect()
    }

    async fn told(&self, event: &Event) -> Result<(), Error> {
        sqlx::query("DELETE FROM outbox WHERE order_id = ? AND what = ?")
            .bind(&event.order.0)
            .bind(row::number_of_what(event.what))
            .execute(&mut self.primary().await?)
            .await
            .map_err(broken)?;
        Ok(())
    }
}

impl Tx for BookTx {
    async fn insert(&mut self, order: &Order) -> Result<bool, Error> {
        let inserted = sqlx::query(
            "INSERT INTO orders (id, customer, total, status, placed_at, pay_by)
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(&order.id.0)
        .bind(&order.customer)
        .bind(number::signed(order.total.in_cents()))
        .bind(row::number_of(order.status))
        .bind(number::signed(order.placed_at.millis()))
        .bind(number::signed(order.pay_by.millis()))
        .execute(&mut *self.tx)
        .await
        .map_err(data::Error::from);
        match inserted {
            Ok(_) => {}
            Err(error) if error.is_duplicate() => return Ok(false),
            Err(error) => return Err(Error::store(error)),
        }
        for (position, line) in (0_i64..).zip(&order.lines) {
            self.line(&order.id, position, line).await?;
        }
        Ok(true)
    }

    async fn turn(&mut self, id: &OrderId, from: Status, to: Status) -> Result<bool, Error> {
        let turned = sqlx::query("UPDATE orders SET status = ? WHERE id = ? AND status = ?")
            .bind(row::number_of(to))
            .bind(&id.0)
            .bind(row::number_of(from))
            .execute(&mut *self.tx)
            .await
            .map_err(broken)?;
        Ok(turned.rows_affected() > 0)
    }

    async fn append(&mut self, event: &Event) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO outbox (order_id, what, customer, total, pay_by, happened_at)
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(&event.order.0)
        .bind(row::number_of_what(event.what))
        .bind(&event.customer)
        .bind(number::signed(event.total.in_cents()))
        .bind(number::signed(event.pay_by.millis()))
        .bind(number::signed(event.at.millis()))
        .execute(&mut *self.tx)
        .await
        .map_err(broken)?;
        Ok(())
    }

    async fn commit(self) -> Result<(), Error> {
        self.tx.commit().await.map_err(broken)
    }
}

impl BookTx {
    async fn line(&mut self, id: &OrderId, position: i64, line: &Line) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO order_lines (order_id, position, product_id, title, price, quantity)
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(&id.0)
        .bind(position)
        .bind(i64::from(line.product.0))
        .bind(&line.title)
        .bind(number::signed(line.price.in_cents()))
        .bind(i64::from(line.quantity))
        .execute(&mut *self.tx)
        .await
        .map_err(broken)?;
        Ok(())
    }
}
