//! A write that races slow reads: what is left in the cache.
//!
//! Every interleaving of the model in `seawall_cache`, on the entry that serves in process and that
//! Redis' scripts are held against; and real races on a real Redis, 32 at a time.

use std::time::Duration;

use seawall_cache::redis::Redis;
use seawall_cache::testing::{Covered, Keep, check, race, setups};

use super::{Case, Metric};
use crate::peers::Peer;

/// A value is kept whatever happened while it was loaded.
const WITHOUT: Peer = Peer::Library("no leases");
const RACES: f64 = 100_000.0;

pub(super) fn cases() -> Vec<Case> {
    let model = Case::new(
        "race of write and slow read, every interleaving",
        &[Peer::Seawall],
        |_, setup| {
            let mut covered = Covered::default();
            let mut stale = 0.0;
            for setup in setups(!setup.quick) {
                match check(&setup) {
                    Ok(part) => covered += part,
                    Err(violation) => {
                        eprintln!("{violation}");
                        stale += 1.0;
                    }
                }
            }
            let states = covered.states as f64;
            let interleavings = covered.interleavings as f64;
            Ok(vec![
                Metric::new("stale left behind", "", "0", stale),
                Metric::new("interleavings", "", ">= 1000000", interleavings),
                Metric::new("states", "", "", states),
            ])
        },
    );
    let real = Case::new(
        "race of write and slow read, on Redis",
        &[Peer::Seawall, WITHOUT],
        |peer, setup| {
            let server = seawall_testkit::Redis::start()?;
            let redis = Redis::single(&server.url())?.timeout(Duration::from_secs(10));
            let runtime = super::two_threads()?;
            let keep = match peer {
                Peer::Seawall => Keep::Leased,
                _ => Keep::Anyhow,
            };
            let races = setup.length(RACES) as usize;
            let raced = runtime.block_on(race(&redis, races, keep))?;
            Ok(vec![
                Metric::new("stale left behind", "", "0", raced.stale as f64),
                Metric::new("races", "", "", raced.races as f64),
                Metric::new("fills refused", "", "", raced.refused as f64),
            ])
        },
    );
    vec![model, real]
}
