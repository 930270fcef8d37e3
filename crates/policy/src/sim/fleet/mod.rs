//! Many clients and many hosts in virtual time: whether the caller's half of an outage is made.
//!
//! Users' calls come to client instances by a Poisson process. Each instance is one process with a
//! policy state of its own (a [`Client`]), which picks a host for every attempt, hears how it
//! ended, and says whether there is another. Hosts are pools of slots, shared processors or plain
//! latencies ([`HostModel`]); they slow down, fail quickly, refuse, fall silent, come, go and share
//! their machines with others ([`Antagonists`]). Hosts of one tier may call the next with a policy
//! of their own, and deadline and the mark of retries travel with the call.
//!
//! Three things are apart. A [`Scenario`] is data and knows no policy; a [`Client`] sees only what
//! a real one would see; a [`Report`] is a log of what happened, and figures are read from it.
//! [`rows`] puts them together: each row names scenarios, the policies to compare and the bounds
//! that must hold. The policy proper is [`Stack`], which is the crate's own code driven as
//! the layers drive it; [`baseline`] has what others do.
//!
//! All random numbers come from the seed, in streams of their own for traffic, hosts, antagonists
//! and each client: under two policies the same calls arrive at the same times, cost the same and
//! meet the same neighbours, so a difference is the policies' and not chance. A run is the same
//! on every machine as long as `ln`, `exp` and `cos` are, whose last bits may differ.
//!
//! # What the model leaves out
//! - Connections: none are opened, limited or reused, and a refusal costs one round trip.
//! - The client's own processor: policies are free, and probes cost their host nothing.
//! - Work is not preempted: a call that was begun at a host is worked on to its end even if nobody
//!   waits any more; one that waits there is dropped at its turn.
//! - Calls are independent. Users who come again because they were refused are not modelled
//!   (open loop), nor are calls whose cost depends on the host's cache.
//! - The network delays and loses nothing, except towards a silent host.
//!
//! ```
//! use seawall_policy::sim::fleet::baseline::{LeastLoaded, Never, Plain};
//! use seawall_policy::sim::fleet::{HostModel, Scenario, What, Work};
//! use std::time::Duration;
//!
//! // Ten hosts of 20 ms; one of them takes 2 s from the second second on.
//! let host = HostModel::latency(Work::Fixed(Duration::from_millis(20)));
//! let scenario = Scenario::new(vec![host; 10], 500.0)
//!     .at(2.0, 3, What::Work(Work::Fixed(Duration::from_secs(2))));
//! let client = || Plain { pick: LeastLoaded::default(), retry: Never };
//! let report = scenario.run(&mut || Some(Box::new(client()))).expect("there is a client");
//! assert_eq!(report.success(0.0, 1.0), 1.0);
//! assert!(report.success(2.0, 8.0) > 0.98);
//! ```

pub mod baseline;
mod calls;
mod client;
mod engine;
mod host;
mod report;
pub mod rows;
mod scenario;
mod slab;
mod stack;

pub use client::{Ask, Client, HostLoad, Member, Pick, Reply, Verdict};
pub use host::{HostModel, Mode, Work};
pub use report::{End, Ended, Report, Sent};
pub use scenario::{Antagonists, Change, Scenario, What};
pub use stack::{Stack, StackSettings};

#[cfg(test)]
mod tests;
