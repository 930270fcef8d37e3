//! Policies by name.

use super::super::baseline::{
    LeastLoaded, Naive, Never, PeakEwma, Picker, Plain, Prequal, RoundRobin, TokenBucket,
    TwoLeastLoaded, Weighted,
};
use super::super::{Client, Stack, StackSettings};
use crate::balance::Algorithm;

/// The policy proper: balance with ejection, breaker, retries within a budget, hedges.
pub const OURS: &str = "seawall";

fn ours(change: impl FnOnce(&mut StackSettings)) -> Box<dyn Client> {
    let mut settings = StackSettings::default();
    change(&mut settings);
    Box::new(Stack::new(settings))
}

fn plain<P: Picker + 'static>(pick: P) -> Box<dyn Client> {
    Box::new(Plain { pick, retry: Never })
}

/// A client of the policy of this name; none for a name that is not known.
///
/// [`OURS`] has variants: `seawall-pool` chooses by what hosts report (Prequal), `seawall-retry`
/// has neither breaker nor hedges, `seawall-no-hedge` only no hedges.
#[must_use]
pub fn policy(name: &str) -> Option<Box<dyn Client>> {
    Some(match name {
        OURS => ours(|_| {}),
        "seawall-pool" => ours(|s| s.balance.algorithm = Algorithm::Prequal),
        "seawall-no-hedge" => ours(|s| s.hedge = None),
        "seawall-retry" => ours(|s| (s.breaker, s.hedge) = (None, None)),
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
