//! Structured tasks: spawning and joining a million that do nothing, on two workers.

use std::convert::Infallible;

use anyhow::Context as _;
use seawall_sync::Group;
use tokio::task::JoinSet;

use super::{Case, together};
use crate::peers::Peer;

const JOIN_SET: Peer = Peer::Library("JoinSet");
const WORKERS: usize = 2;
/// Tasks of a pass, and passes in a run of full length.
const TASKS: usize = 1_000_000;
const PASSES: f64 = 6.0;

pub(super) fn cases() -> Vec<Case> {
    let peers = [Peer::Seawall, JOIN_SET];
    vec![Case::new(
        "spawn and join 1 M tasks, 2 workers",
        &peers,
        |peer, setup| {
            let runtime = together::runtime(WORKERS)?;
            let passes = setup.length(PASSES).ceil() as usize;
            together::passes("task", "<= 1.15 x JoinSet", TASKS, passes, || {
                // As a task, so that the thread that spawns is a worker, too.
                let pass = if peer == Peer::Seawall {
                    runtime.spawn(grouped())
                } else {
                    runtime.spawn(join_set())
                };
                let done = runtime.block_on(pass).context("a pass panicked")?;
                anyhow::ensure!(done == TASKS, "{done} of {TASKS} tasks ended");
                Ok(())
            })
        },
    )]
}

async fn grouped() -> usize {
    let mut group = Group::new();
    for _ in 0..TASKS {
        group.spawn(async { Ok::<_, Infallible>(()) });
    }
    group.join().await.all().map_or(0, |all| all.len())
}

async fn join_set() -> usize {
    let mut set = JoinSet::new();
    for _ in 0..TASKS {
        set.spawn(async { Ok::<_, Infallible>(()) });
    }
    let mut results = Vec::with_capacity(TASKS);
    while let Some(joined) = set.join_next().await {
        results.extend(joined.ok());
    }
    results.len()
}
