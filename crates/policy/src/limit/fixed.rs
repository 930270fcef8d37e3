//! A limit that an operator chose.

use std::time::Duration;

use super::{Limit, Step, Window};

/// A constant number of places. For an origin whose capacity is known and never changes.
#[derive(Clone, Copy, Debug)]
pub struct Fixed(Step);

impl Fixed {
    /// Always `limit` places, at least 1.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self(Step {
            limit: limit.max(1),
            after: Duration::from_millis(100),
        })
    }
}

impl Limit for Fixed {
    fn start(&self) -> Step {
        self.0
    }

    fn update(&mut self, _: &Window) -> Step {
        self.0
    }

    fn name(&self) -> &'static str {
        "fixed"
    }
}
