//! Which parts of a list are known.
//!
//! A part is `(from, to]`: whatever the database has behind `from` and up to `to` is among the
//! members. A page is asked for *after* a cursor and ends *with* its last item, so parts that are
//! loaded one after another touch, and become one. No `from` is the head: whatever is new and comes
//! first lies in a known part. No `to` is the end: nothing is behind it, which is another thing than
//! not to know what is.

use std::cmp::Ordering;

use super::position::{Order, Position};

/// What is known from one position to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: Option<Position>,
    pub(super) to: Option<Position>,
}

impl Span {
    pub(super) fn holds(&self, order: Order, position: &Position) -> bool {
        order.behind(position, self.from.as_ref()) && order.until(position, self.to.as_ref())
    }

    /// Whether it knows what comes next after a cursor.
    pub(super) fn continues(&self, order: Order, after: Option<&Position>) -> bool {
        match after {
            None => self.from.is_none(),
            Some(after) => {
                from_is_at_most(order, self.from.as_ref(), Some(after))
                    && self
                        .to
                        .as_ref()
                        .is_none_or(|to| order.compare(to, after).is_gt())
            }
        }
    }
}

fn from_is_at_most(order: Order, a: Option<&Position>, b: Option<&Position>) -> bool {
    match (a, b) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(a), Some(b)) => order.compare(a, b).is_le(),
    }
}

/// The known parts in the order of the list, of which no two touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known(pub(super) Vec<Span>);

impl Known {
    /// All of it, from head to end.
    pub(super) fn whole(&self) -> bool {
        matches!(
            self.0.as_slice(),
            [Span {
                from: None,
                to: None
            }]
        )
    }

    pub(super) fn find(&self, order: Order, position: &Position) -> Option<usize> {
        self.0.iter().position(|span| span.holds(order, position))
    }

    pub(super) fn after(&self, order: Order, after: Option<&Position>) -> Option<&Span> {
        self.0.iter().find(|span| span.continues(order, after))
    }

    /// Adds a part; those that it touches become one with it.
    pub(super) fn add(&mut self, order: Order, mut new: Span) {
        let mut rest = Vec::with_capacity(self.0.len() + 1);
        for span in self.0.drain(..) {
            let apart = |a: &Span, b: &Span| {
                // `a` ends before `b` begins.
                match (&a.to, &b.from) {
                    (Some(to), Some(from)) => order.compare(to, from).is_lt(),
                    _ => false,
                }
            };
            if apart(&span, &new) || apart(&new, &span) {
                rest.push(span);
                continue;
            }
            if from_is_at_most(order, span.from.as_ref(), new.from.as_ref()) {
                new.from = span.from;
            }
            new.to = match (new.to, span.to) {
                (Some(a), Some(b)) if order.compare(&a, &b) == Ordering::Less => Some(b),
                (Some(a), Some(_)) => Some(a),
                _ => None,
            };
        }
        let place = rest
            .iter()
            .take_while(|span| from_is_at_most(order, span.from.as_ref(), new.from.as_ref()))
            .count();
        rest.insert(place, new);
        self.0 = rest;
    }
}
