//! What orders are about, and what that needs: stock from the catalog, a place to keep orders, and
//! somebody who wants to know.

mod order;
mod price;

pub use order::{Line, Order, OrderId, Place, ProductId, Status, Wanted};

/// Why a command was not done.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The key was used for another order.
    #[error("the key was used for another order: choose a new one")]
    KeyUsed,
    /// It is not paid and the time to pay is over.
    #[error("the time to pay is over")]
    TooLate,
    /// It costs more than the shop deals in.
    #[error("the order costs {0}")]
    TooMuch(#[from] crate::pkg::TooMuch),
}
