//! What an order costs.
//!
//! Written test first; `docs/testing.md` tells which commits to read.

use std::collections::BTreeMap;

use super::Line;
use crate::pkg::{Money, TooMuch};

/// From so many of one product on a tenth is off.
const MANY: u32 = 10;

/// What all lines cost. Lines of one product count together.
pub(super) fn total(lines: &[Line]) -> Result<Money, TooMuch> {
    let mut products = BTreeMap::new();
    for line in lines {
        let (count, full) = products
            .entry(line.product)
            .or_insert((0_u32, Money::NOTHING));
        *count = count.saturating_add(line.quantity);
        *full = full.plus(line.price.times(line.quantity)?)?;
    }
    products
        .into_values()
        .try_fold(Money::NOTHING, |sum, (count, full)| {
            sum.plus(reduced(count, full)?)
        })
}

fn reduced(count: u32, full: Money) -> Result<Money, TooMuch> {
    if count < MANY {
        return Ok(full);
    }
    Money::cents(full.in_cents() * 9 / 10)
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

    #[test]
    fn from_ten_of_a_product_on_a_tenth_is_off() {
        assert_eq!(costs(&[line(100, 9)]), 900);
        assert_eq!(costs(&[line(100, 10)]), 900);
    }

    #[test]
    fn what_is_off_is_rounded_up_for_the_customer() {
        assert_eq!(costs(&[line(1, 11)]), 9);
        assert_eq!(costs(&[line(3, 13)]), 35);
    }

    #[test]
    fn lines_of_one_product_count_together() {
        assert_eq!(costs(&[line(100, 6), line(100, 4)]), 900);
    }

    #[test]
    fn ten_never_cost_more_than_nine() {
        for cents in 0..2_000 {
            assert!(
                costs(&[line(cents, 10)]) <= costs(&[line(cents, 9)]),
                "{cents}"
            );
        }
    }
}
