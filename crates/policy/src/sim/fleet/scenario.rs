//! What is to be simulated: data alone.

use std::time::Duration;

use super::client::Client;
use super::engine::Run;
use super::host::{HostModel, Mode, Work};
use super::report::Report;

/// Something that happens to a host at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// When.
    pub at: Duration,
    /// Which host; numbers go through the tiers from the first to the last.
    pub host: u32,
    /// What.
    pub what: What,
}

/// What happens to a host.
#[derive(Clone, Copy, Debug)]
pub enum What {
    /// Calls cost this from now on.
    Work(Work),
    /// It does this with calls from now on.
    Mode(Mode),
    /// It has so many cores from now on.
    Cores(f64),
    /// Discovery knows it, or no longer does.
    Listed(bool),
}

/// Other tenants of the hosts' machines, after the testbed of the Prequal paper.
///
/// A host has its model's `cores` allotted out of a machine that has `machine` times as many. The
/// others use a part of the rest that is drawn for each machine (normal, `mean` ± `between`), and
/// around it drawn again every `every` on average (± `within`). What they leave is the host's to
/// use; where they leave nothing, isolation that is not perfect costs it down to `kept` of what it
/// is allotted.
#[derive(Clone, Copy, Debug)]
pub struct Antagonists {
    /// A machine, in allotments.
    pub machine: f64,
    /// Part of the rest in use, on average over the machines.
    pub mean: f64,
    /// Deviation between machines.
    pub between: f64,
    /// Deviation in time.
    pub within: f64,
    /// Mean time between two draws.
    pub every: Duration,
    /// Part of the allotment that is left when the rest is in full use.
    pub kept: f64,
}

/// Traffic, clients and hosts of a run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The seed of every random number.
    pub seed: u64,
    /// Client instances; each call comes to one of them by chance.
    pub clients: u32,
    /// Calls a second over all clients, each from a moment on; a Poisson process.
    pub rates: Vec<(Duration, f64)>,
    /// How long users wait.
    pub timeout: Duration,
    /// Part of the users that leave early, and after how long.
    pub leavers: (f64, Duration),
    /// Hosts, by tier. Each host of a tier that is not the last calls the next one when its own
    /// work on a call is done, with a client of its own.
    pub tiers: Vec<Vec<HostModel>>,
    /// Time to a host, and the same back.
    pub network: Duration,
    /// Up to this is added to each way, evenly spread.
    pub jitter: Duration,
    /// What happens when; in any order.
    pub changes: Vec<Change>,
    /// Who else is on the hosts' machines.
    pub antagonists: Option<Antagonists>,
    /// Discovery repeats its list so often, each time in another order.
    pub discovery: Option<Duration>,
    /// How long the run lasts. Calls that are then under way are not in the report.
    pub length: Duration,
}

impl Scenario {
    /// One tier of these hosts, one client with so many calls a second, a second's patience and
    /// half a millisecond of network each way.
    #[must_use]
    pub fn new(hosts: Vec<HostModel>, rate: f64) -> Self {
        Self {
            seed: 1,
            clients: 1,
            rates: vec![(Duration::ZERO, rate)],
            timeout: Duration::from_secs(1),
            leavers: (0.0, Duration::ZERO),
            tiers: vec![hosts],
            network: Duration::from_micros(250),
            jitter: Duration::from_micros(500),
            changes: Vec::new(),
            antagonists: None,
            discovery: None,
            length: Duration::from_secs(10),
        }
    }

    /// Adds a change.
    #[must_use]
    pub fn at(mut self, seconds: f64, host: u32, what: What) -> Self {
        let at = Duration::from_secs_f64(seconds);
        self.changes.push(Change { at, host, what });
        self
    }

    /// Runs it. `client` makes the policy of each client instance: those of users, and those of
    /// the hosts of every tier but the last. None where it makes none.
    #[must_use]
    pub fn run(&self, client: &mut dyn FnMut() -> Option<Box<dyn Client>>) -> Option<Report> {
        Some(Run::new(self, client)?.run())
    }
}
