//! A notice, and when it is due.

use std::time::Duration;

use super::{ATTEMPTS, PAUSE};
use crate::pkg::{Money, Time};

/// How long before the time to pay is over a customer is reminded.
const REMIND: Duration = Duration::from_secs(5 * 60);

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It is there.
    Placed,
    /// It is paid.
    Paid,
    /// It was not paid in time.
    Expired,
}

/// What a notice has to know of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Which.
    pub id: String,
    /// Whose.
    pub customer: String,
    /// What it costs.
    pub total: Money,
    /// When it is to be paid.
    pub pay_by: Time,
}

/// What a notice is for. An order has one of each at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// To pay.
    Reminder,
    /// Of a payment.
    Receipt,
    /// That the time to pay is over.
    Expiry,
}

/// How it stands with a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is to be sent.
    Due,
    /// It was sent.
    Sent,
    /// It is no longer to be sent.
    Cancelled,
    /// It was tried too often.
    Failed,
}

/// Something a customer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Of which order.
    pub order: String,
    /// What for.
    pub kind: Kind,
    /// Whom.
    pub customer: String,
    /// What.
    pub text: String,
    /// When.
    pub due: Time,
    /// How it stands.
    pub state: State,
    /// How often it was tried.
    pub attempts: u32,
}

impl Notice {
    /// What is told of this.
    #[must_use]
    pub fn of(what: Happened, order: &Order, at: Time) -> Self {
        let total = order.total;
        let (kind, text, due) = match what {
            Happened::Placed => (
                Kind::Reminder,
                format!("{total} is yet to be paid"),
                order.pay_by.before(REMIND).max(at),
            ),
            Happened::Paid => (Kind::Receipt, format!("{total} was paid: thank you"), at),
            Happened::Expired => (Kind::Expiry, "the time to pay is over".to_owned(), at),
        };
        Self {
            order: order.id.clone(),
            kind,
            customer: order.customer.clone(),
            text,
            due,
            state: State::Due,
            attempts: 0,
        }
    }

    /// It after an attempt. What did not go is due again after a pause that doubles, until it was
    /// tried often enough.
    #[must_use]
    pub fn tried(mut self, went: bool, now: Time) -> Self {
        self.attempts = self.attempts.saturating_add(1);
        if went {
            self.state = State::Sent;
        } else if self.attempts >= ATTEMPTS {
            self.state = State::Failed;
        } else {
            self.due = now.after(PAUSE * 2_u32.saturating_pow(self.attempts - 1));
        }
        self
    }
}
