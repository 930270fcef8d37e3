//! Rules of retrying.

use std::time::Duration;

use super::Retrier;
use crate::Outcome;

/// No retries.
#[derive(Clone, Copy, Debug, Default)]
pub struct Never;

impl Retrier for Never {
    fn again(&mut self, _: usize) -> Option<Duration> {
        None
    }
}

/// So many retries at once, whatever happens.
#[derive(Clone, Copy, Debug)]
pub struct Naive(pub usize);

impl Retrier for Naive {
    fn again(&mut self, attempts: usize) -> Option<Duration> {
        (attempts <= self.0).then_some(Duration::ZERO)
    }
}

/// gRPC's throttle (proposal A6): a failure takes a token, a success gives a part of one back, and
/// there are retries while more than half are left. Three at most.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    tokens: f64,
    ratio: f64,
}

impl TokenBucket {
    const TOKENS: f64 = 10.0;

    /// A full bucket that gets `ratio` of a token back for each success.
    #[must_use]
    pub fn new(ratio: f64) -> Self {
        Self {
            tokens: Self::TOKENS,
            ratio,
        }
    }
}

impl Retrier for TokenBucket {
    fn ended(&mut self, outcome: Outcome) {
        self.tokens = match outcome {
            Outcome::Success => (self.tokens + self.ratio).min(Self::TOKENS),
            Outcome::Failure | Outcome::Overloaded => (self.tokens - 1.0).max(0.0),
            Outcome::Ignored => self.tokens,
        };
    }

    fn again(&mut self, attempts: usize) -> Option<Duration> {
        (attempts <= 3 && self.tokens > Self::TOKENS / 2.0).then_some(Duration::ZERO)
    }
}
