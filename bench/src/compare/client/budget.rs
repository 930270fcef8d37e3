//! A retry budget: what a call pays into it, and taking a retry out.

use std::hint::black_box;
use std::time::Duration;

use seawall_policy::Tick;
use seawall_policy::retry::{Budget, BudgetSettings};
use tower::retry::budget::{Budget as _, TpsBudget};

use super::{Case, threads, together};
use crate::peers::Peer;

const TOWER: Peer = Peer::Library("tower TpsBudget");
/// Calls of a thread in a run of full length.
const CALLS: f64 = 1e7;
/// Virtual time between two calls of a thread.
const STEP: u64 = 1_000;
const COST: &str = "deposit and withdraw";

pub(super) fn cases() -> Vec<Case> {
    let case = |count, goal| {
        let name = format!("retry budget, {}", threads(count));
        Case::new(name, &[Peer::Seawall, TOWER], move |peer, setup| {
            let calls = setup.length(CALLS) as u64;
            if peer == Peer::Seawall {
                // Every withdrawal is granted, which is the longer way.
                let budget = Budget::new(&BudgetSettings {
                    ratio: 1.0,
                    shards: count,
                    ..BudgetSettings::default()
                });
                together::cost(COST, goal, count, calls, |_, calls| {
                    for call in 0..calls {
                        let now = Tick(call * STEP);
                        budget.deposit(now);
                        black_box(budget.withdraw(now));
                    }
                })
            } else {
                let budget = TpsBudget::new(Duration::from_secs(10), 1, 1.0);
                together::cost(COST, goal, count, calls, |_, calls| {
                    for _ in 0..calls {
                        budget.deposit();
                        black_box(budget.withdraw());
                    }
                })
            }
        })
    };
    vec![case(1, "<= 15"), case(2, "<= 25")]
}
