//! An order, and what may become of it.

use std::fmt;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::{Error, price};
use crate::pkg::{Money, Time};

/// Which product, by the catalog's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProductId(pub u32);

/// Which order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OrderId(pub String);

impl OrderId {
    /// The id of what this customer asks for under this key: the same each time it is asked, so
    /// that a call which is made again, by whomever, can only meet what the first one did.
    #[must_use]
    pub fn of(customer: &str, key: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update((customer.len() as u64).to_le_bytes());
        hash.update(customer);
        hash.update(key);
        let digest = hash.finalize();
        Self(
            digest[..16]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        )
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Who asks.
    pub customer: String,
    /// Chosen by the customer's program, once for each order that is meant.
    pub key: String,
    /// How many of what.
    pub lines: Vec<Wanted>,
}

/// How many of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// Of which.
    pub product: ProductId,
    /// How many.
    pub quantity: u32,
}

/// What is ordered of a product, at the price it had then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Of which.
    pub product: ProductId,
    /// Its name then.
    pub title: String,
    /// What one cost then.
    pub price: Money,
    /// How many.
    pub quantity: u32,
}

/// How it stands with an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Its stock is set aside until it is to be paid.
    Unpaid,
    /// It is paid.
    Paid,
    /// It was not paid in time.
    Expired,
}

/// An order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Which.
    pub id: OrderId,
    /// Whose.
    pub customer: String,
    /// What.
    pub lines: Vec<Line>,
    /// What is to be paid.
    pub total: Money,
    /// How it stands.
    pub status: Status,
    /// Since when it is there.
    pub placed_at: Time,
    /// When it is to be paid.
    pub pay_by: Time,
}

impl Order {
    /// A new one of these lines, to be paid within `time`.
    ///
    /// # Errors
    /// It costs more than the shop deals in.
    pub fn new(place: &Place, lines: Vec<Line>, now: Time, time: Duration) -> Result<Self, Error> {
        Ok(Self {
            id: OrderId::of(&place.customer, &place.key),
            customer: place.customer.clone(),
            total: price::total(&lines)?,
            lines,
            status: Status::Unpaid,
            placed_at: now,
            pay_by: now.after(time),
        })
    }

    /// This order, if it is what is asked for.
    ///
    /// # Errors
    /// The key was used for something else.
    pub fn if_same(self, place: &Place) -> Result<Self, Error> {
        let kept = self.lines.iter().map(|line| Wanted {
            product: line.product,
            quantity: line.quantity,
        });
        let (mut kept, mut asked) = (kept.collect::<Vec<_>>(), place.lines.clone());
        kept.sort_unstable();
        asked.sort_unstable();
        if kept == asked {
            Ok(self)
        } else {
            Err(Error::KeyUsed)
        }
    }

    /// Whether it can be paid now. What is paid already can: it is not paid twice.
    ///
    /// # Errors
    /// It is too late.
    pub fn payable(&self, now: Time) -> Result<(), Error> {
        match self.status {
            Status::Paid => Ok(()),
            Status::Unpaid if now < self.pay_by => Ok(()),
            Status::Unpaid | Status::Expired => Err(Error::TooLate),
        }
    }
}
