//! What an order costs.
//!
//! Written test first; `docs/testing.md` tells which commits to read.

use super::Line;
use crate::pkg::{Money, TooMuch};

/// What all lines cost.
pub(super) fn total(lines: &[Line]) -> Result<Money, TooMuch> {
    lines.iter().try_fold(Money::default(), |sum, line| {
        sum.plus(line.price.times(line.quantity)?)
    })
}

#[cfg(test)]
mod tests {
    use super::super::ProductId;
    use super::*;

    fn line(cents: u64, quantity: u32) -> Line {
        Line {
            product: ProductId(1),
            title: String::new(),
            price: Money::cents(cents).expect("small"),
            quantity,
        }
    }

    fn costs(lines: &[Line]) -> u64 {
        total(lines).expect("small").in_cents()
    }

    #[test]
    fn an_order_costs_what_its_lines_cost() {
        assert_eq!(costs(&[]), 0);
        assert_eq!(costs(&[line(250, 2), line(100, 1)]), 600);
    }
}
