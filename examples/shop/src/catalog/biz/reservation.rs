//! Stock that is set aside for an order.

use std::fmt;

use super::{Error, MOST_OF_ONE, ProductId};
use crate::pkg::{Money, Time};

/// Which: chosen by whoever reserves, so that asking twice sets aside once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReservationId(pub String);

impl fmt::Display for ReservationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How many of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Of which.
    pub product: ProductId,
    /// How many.
    pub quantity: u32,
}

/// What was set aside of a product, and what one cost then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Of which.
    pub product: ProductId,
    /// Its name.
    pub title: String,
    /// What one cost.
    pub price: Money,
    /// How many.
    pub quantity: u32,
}

/// How it stands with a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Set aside.
    Held,
    /// Paid for.
    Sold,
    /// Put back.
    Released,
}

/// Stock that is set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Which.
    pub id: ReservationId,
    /// How it stands.
    pub state: State,
    /// Until when it is set aside, unless it is paid for.
    pub until: Time,
    /// What.
    pub lines: Vec<Held>,
}

impl Reservation {
    pub(super) fn if_held(self) -> Result<Self, Error> {
        match self.state {
            State::Held | State::Sold => Ok(self),
            State::Released => Err(Error::NotHeld(self.id)),
        }
    }
}

/// By product: two reservations that take their rows in one order cannot wait for each other.
pub(super) fn in_order(wanted: &[Wanted]) -> Result<Vec<Wanted>, Error> {
    let mut wanted = wanted.to_vec();
    wanted.sort_by_key(|wanted| wanted.product);
    let counted = |wanted: &Wanted| (1..=MOST_OF_ONE).contains(&wanted.quantity);
    if wanted.is_empty() || !wanted.iter().all(counted) {
        return Err(Error::Wanted);
    }
    Ok(wanted)
}
