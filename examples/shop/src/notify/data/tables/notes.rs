//! Notices in a table, as the business needs them.

use seawall::data::{self, Connection, Database};

use super::{Db, broken};
use crate::notify::biz::{Error, Kind, Notice, State, Store};
use crate::notify::data::row;
use crate::pkg::{Time, number};

/// Notices in a database.
#[derive(Clone, Debug)]
pub struct Notes {
    database: Database<Db>,
}

/// Order, kind, customer, text, due, state, attempts.
pub(super) type Row = (String, i64, String, String, i64, i64, i64);

impl Notes {
    /// Over this database.
    #[must_use]
    pub fn new(database: Database<Db>) -> Self {
        Self { database }
    }

    /// Where it is as it was last written by anybody.
    async fn primary(&self) -> Result<Connection<Db>, Error> {
        self.database.write().await.map_err(broken)
    }

    /// Keeps it, unless there is one of its order and kind: whether it was kept.
    async fn insert(&self, notice: &Notice) -> Result<bool, Error> {
        let inserted = sqlx::query(
            "INSERT INTO notices (order_id, kind, customer, text, due, state, attempts)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&notice.order)
        .bind(row::number_of(notice.kind))
        .bind(&notice.customer)
        .bind(&notice.text)
        .bind(number::signed(notice.due.millis()))
        .bind(row::number_of_state(notice.state))
        .bind(i64::from(notice.attempts))
        .execute(&mut self.primary().await?)
        .await
        .map_err(data::Error::from);
        match inserted {
            Ok(_) => Ok(true),
            Err(error) if error.is_duplicate() => Ok(false),
            Err(error) => Err(Error::store(error)),
        }
    }
}

impl Store for Notes {
    async fn keep(&self, notice: &Notice) -> Result<(), Error> {
        self.insert(notice).await.map(|_| ())
    }

    async fn cancel(&self, order: &str, kind: Kind, customer: &str) -> Result<(), Error> {
        let cancelled = Notice {
            order: order.to_owned(),
            kind,
            customer: customer.to_owned(),
            text: String::new(),
            due: Time::default(),
            state: State::Cancelled,
            attempts: 0,
        };
        if self.insert(&cancelled).await? {
            return Ok(());
        }
        sqlx::query("UPDATE notices SET state = ? WHERE order_id = ? AND kind = ? AND state = ?")
            .bind(row::number_of_state(State::Cancelled))
            .bind(order)
            .bind(row::number_of(kind))
            .bind(row::number_of_state(State::Due))
            .execute(&mut self.primary().await?)
            .await
            .map_err(broken)?;
        Ok(())
    }

    async fn claim(&self, now: Time, until: Time, most: u32) -> Result<Vec<Notice>, Error> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT order_id, kind, customer, text, due, state, attempts FROM notices
             WHERE state = ? AND due <= ? ORDER BY due LIMIT ?",
        )
        .bind(row::number_of_state(State::Due))
        .bind(number::signed(now.millis()))
        .bind(i64::from(most))
        .fetch_all(&mut self.primary().await?)
        .await
        .map_err(broken)?;
        let mut claimed = Vec::with_capacity(rows.len());
        for row in rows {
            let due = row.4;
            let notice = notice(row)?;
            // Another worker that read the same row changes it first, or finds it changed.
            let changed = sqlx::query(
                "UPDATE notices SET due = ?
                 WHERE order_id = ? AND kind = ? AND state = ? AND due = ?",
            )
            .bind(number::signed(until.millis()))
            .bind(&notice.order)
            .bind(row::number_of(notice.kind))
            .bind(row::number_of_state(State::Due))
            .bind(due)
            .execute(&mut self.primary().await?)
            .await
            .map_err(broken)?;
            if changed.rows_affected() > 0 {
                claimed.push(notice);
            }
        }
        Ok(claimed)
    }

    async fn settle(&self, notice: &Notice) -> Result<(), Error> {
        // One that was cancelled meanwhile stays so, unless it was sent.
        sqlx::query(
            "UPDATE notices SET state = ?, due = ?, attempts = ?
             WHERE order_id = ? AND kind = ? AND (state = ? OR ? = ?)",
        )
        .bind(row::number_of_state(notice.state))
        .bind(number::signed(notice.due.millis()))
        .bind(i64::from(notice.attempts))
        .bind(&notice.order)
        .bind(row::number_of(notice.kind))
        .bind(row::number_of_state(State::Due))
        .bind(row::number_of_state(notice.state))
        .bind(row::number_of_state(State::Sent))
        .execute(&mut self.primary().await?)
        .await
        .map_err(broken)?;
        Ok(())
    }
}

pub(super) fn notice(row: Row) -> Result<Notice, Error> {
    let (order, kind, customer, text, due, state, attempts) = row;
    Ok(Notice {
        order,
        kind: row::kind_of(kind)?,
        customer,
        text,
        due: Time::from_millis(number::unsigned(due)),
        state: row::state_of(state)?,
        attempts: number::small(attempts),
    })
}
