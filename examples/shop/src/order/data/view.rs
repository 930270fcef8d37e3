//! What is read of orders, by whatever shows them, past the business.

use std::future::Future;

use seawall::data::Error;

use crate::order::biz::Status;

/// An order in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderView {
    /// Its id.
    pub id: String,
    /// What is to be paid, in cents.
    pub total: u64,
    /// How it stands.
    pub status: Status,
    /// Since when it is there: milliseconds since 1970.
    pub placed_at: u64,
}

/// The queries: what they answer may be a moment old.
pub trait Views: Send + Sync + 'static {
    /// A customer's latest orders, up to `most`.
    fn latest(
        &self,
        customer: &str,
        most: u32,
    ) -> impl Future<Output = Result<Vec<OrderView>, Error>> + Send;
}
