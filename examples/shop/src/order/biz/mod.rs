//! What orders are about, and what that needs: stock from the catalog, a place to keep orders, and
//! somebody who is told what became of them.
//!
//! Nothing here knows a transport, a database or the time: what is needed is said as traits
//! ([`Stock`], [`Store`], [`Tx`], [`Tell`]), what time it is comes in as an argument.

mod event;
mod order;
mod place;
mod port;
mod price;
mod settle;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod place_tests;
#[cfg(test)]
mod settle_tests;

pub use event::{Event, What};
pub use order::{Line, Order, OrderId, Place, ProductId, Status, Wanted};
pub use place::{Orders, Terms};
pub use port::{Stock, Store, Tell, Tx};
pub use settle::{Settle, Told};

use crate::pkg::Failure;

/// Why a command was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such order.
    #[error("there is no order {0}")]
    NoOrder(OrderId),
    /// The key was used for another order.
    #[error("the key was used for another order: choose a new one")]
    KeyUsed,
    /// It is not paid and the time to pay is over.
    #[error("the time to pay is over")]
    TooLate,
    /// It costs more than the shop deals in.
    #[error("the order costs {0}")]
    TooMuch(#[from] crate::pkg::TooMuch),
    /// There is no such product.
    #[error("there is no product {}", .0.0)]
    NoProduct(ProductId),
    /// Fewer are left than are wanted.
    #[error("of product {} only {left} are left", product.0)]
    OutOfStock {
        /// Of which.
        product: ProductId,
        /// How many there are.
        left: u32,
    },
    /// Whether there is stock cannot be told.
    #[error("the catalog cannot be asked: {0}")]
    NoCatalog(String),
    /// The store failed.
    #[error("store: {0}")]
    Store(Failure),
    /// Nobody could be told.
    #[error("nobody could be told: {0}")]
    Untold(String),
}

impl Error {
    /// The store failed.
    pub fn store(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Store(Failure::new(error))
    }
}
