//! A product, and how many of it there are.

use std::fmt;

use super::Error;
use crate::pkg::Money;

/// The most one order takes of one product.
pub const MOST_OF_ONE: u32 = 1_000;

/// Which product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProductId(pub u32);

impl fmt::Display for ProductId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is needed of a product to sell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// Which.
    pub id: ProductId,
    /// Its name.
    pub title: String,
    /// What one costs.
    pub price: Money,
    /// How many there are.
    pub stock: u32,
}

impl Product {
    /// Takes so many from the stock.
    ///
    /// # Errors
    /// There are not so many.
    pub fn take(&mut self, count: u32) -> Result<(), Error> {
        match self.stock.checked_sub(count) {
            Some(rest) => self.stock = rest,
            None => {
                return Err(Error::OutOfStock {
                    product: self.id,
                    left: self.stock,
                });
            }
        }
        Ok(())
    }
}
