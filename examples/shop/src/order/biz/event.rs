//! What became of an order, for whoever wants to know.

use super::{Order, OrderId};
use crate::pkg::{Money, Time};

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It is there, to be paid by `pay_by`.
    Placed,
    /// It is paid.
    Paid,
    /// It was not paid in time.
    Expired,
}

/// Something that became of an order. Kept with the order, in one transaction, and told
/// afterwards until somebody has heard it: so what happened is told at least once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Of which.
    pub order: OrderId,
    /// What.
    pub what: What,
    /// Whose order it is.
    pub customer: String,
    /// What it costs.
    pub total: Money,
    /// When it is to be paid.
    pub pay_by: Time,
    /// When it happened.
    pub at: Time,
}

impl Event {
    /// This became of that order.
    #[must_use]
    pub fn of(order: &Order, what: What, at: Time) -> Self {
        Self {
            order: order.id.clone(),
            what,
            customer: order.customer.clone(),
            total: order.total,
            pay_by: order.pay_by,
            at,
        }
    }
}
