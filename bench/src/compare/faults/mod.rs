//! `faults`: what callers see of hosts that die, hang, slow down or fail, and of reloads: real
//! processes behind the gateway, nginx and Envoy, each told of the hosts as its documentation
//! advises, and all of them that callers wait 1 s.

mod bed;
mod host;
mod outage;
mod reload;
mod sick;
mod tap;

use std::time::Duration;

use outage::{Fate, Outage};

use super::rounds::compare;
use super::{CompareArgs, Scenario};
use crate::peers::Peer;

const PEERS: [Peer; 3] = [Peer::Seawall, Peer::Nginx, Peer::Envoy];
/// Requests a second.
const RATE: f64 = 1_000.0;
/// All is well for so long first.
const WARM: Duration = Duration::from_secs(2);

/// Runs the comparison.
///
/// # Errors
/// Says which part could not be started.
pub fn faults(args: &CompareArgs) -> anyhow::Result<()> {
    let outages = [(3, Fate::Killed), (3, Fate::Stopped), (1, Fate::Killed)];
    let outages =
        outages.map(|(hosts, fate)| Box::new(Outage { hosts, fate }) as Box<dyn Scenario>);
    let others: [Box<dyn Scenario>; 3] = [
        Box::new(sick::Slow),
        Box::new(sick::FastFailure),
        Box::new(reload::Reload),
    ];
    compare("faults", args, outages.into_iter().chain(others).collect())
}
