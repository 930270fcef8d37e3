//! Policies by name.

use super::super::baseline::{
    LeastLoaded, Naive, Never, PeakEwma, Plain, Prequal, RoundRobin, TokenBucket, TwoLeastLoaded,
    Weighted,
};
use super::super::{Client, Stack, StackSettings};

/// The policy proper: balance with ejection, breaker, retries within a budget, hedges.
pub const OURS: &str = "seawall";

/// A client of the policy of this name, for a caller of `tier`.
#[must_use]
pub fn policy(name: &str, tier: usize) -> Option<Box<dyn Client>> {
    let _ = tier;
    fn plain<P: super::super::baseline::Picker + 'static>(pick: P) -> Box<dyn Client> {
        Box::new(Plain { pick, retry: Never })
    }
    Some(match name {
        OURS => Box::new(Stack::new(StackSettings::default())),
        "seawall-retry" => Box::new(Stack::new(StackSettings {
            breaker: None,
            ..StackSettings::default()
        })),
        "round-robin" | "no-retries" => plain(RoundRobin::default()),
        "least-loaded" => plain(LeastLoaded::default()),
        "p2c" => plain(TwoLeastLoaded::default()),
        "peak-ewma" => plain(PeakEwma::default()),
        "weighted" => plain(Weighted::default()),
        "prequal" => plain(Prequal::new(3.0)),
        "prequal-half" => plain(Prequal::new(1.5)),
        "naive-retries" => Box::new(Plain {
            pick: RoundRobin::default(),
            retry: Naive(3),
        }),
        "token-bucket" => Box::new(Plain {
            pick: RoundRobin::default(),
            retry: TokenBucket::new(0.1),
        }),
        _ => return None,
    })
}
