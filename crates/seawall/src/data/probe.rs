//! How far each server is, asked over a connection of its own.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Position;
use super::backend::{Backend, Raw};
use super::database::{Inner, ReplicaStats};
use super::server::Server;
use super::settings::Settings;
use crate::Tick;

/// A server that has said nothing for longer counts as gone.
pub(super) const SILENT: Duration = Duration::from_millis(500);
/// How often idle connections are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// A replica as it was last found.
pub(super) struct Replica<DB: Backend> {
    pub(super) server: Arc<Server<DB>>,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    position: Position,
    /// It is read until then, unless found anew.
    until: Tick,
    /// Until when it shows everything.
    shows: Option<Tick>,
    /// When it answered.
    at: Option<Tick>,
}

impl<DB: Backend> Replica<DB> {
    pub(super) fn new(server: Arc<Server<DB>>) -> Self {
        Self {
            server,
            found: Mutex::default(),
        }
    }

    /// Whether it is to be read, and has `needed`.
    pub(super) fn is_able(&self, now: Tick, needed: &Position) -> bool {
        let found = self.found.lock();
        now < found.until && found.position.covers(needed)
    }

    /// It has been found, near or far.
    pub(super) fn is_known(&self) -> bool {
        self.found.lock().at.is_some()
    }

    pub(super) fn stats(&self, now: Tick) -> ReplicaStats {
        let found = self.found.lock();
        let fresh = found.at.is_some_and(|at| now.since(at) <= SILENT);
        ReplicaStats {
            server: self.server.name.clone(),
            lag: found.shows.filter(|_| fresh).map(|shows| now.since(shows)),
            used: now < found.until,
        }
    }
}

/// How a replica's answer is judged.
#[derive(Clone, Copy)]
struct Rule {
    max_lag: Duration,
    silent: Duration,
}

impl Rule {
    /// Until when a replica is read that answered at `at` and shows everything up to `shows`; the
    /// primary was last asked with success at `primary`.
    ///
    /// While the primary does not answer nothing is known of what is written there, if anything is.
    /// Then a replica is measured by the last that was heard: reads go on with what there is.
    fn until(self, at: Tick, shows: Tick, primary: Tick) -> Tick {
        let heard = at + self.silent;
        if at.since(primary) <= self.silent {
            heard.min(shows + self.max_lag)
        } else if primary.since(shows) <= self.max_lag {
            heard
        } else {
            Tick::default()
        }
    }
}

/// Starts what asks the servers, and closes what is idle, until the database is dropped.
pub(super) fn start<DB: Backend>(inner: &Arc<Inner<DB>>, settings: &Settings) {
    tokio::spawn(sweep(Arc::downgrade(inner)));
    if inner.replicas.is_empty() {
        return;
    }
    let every = settings.probe_interval;
    let rule = Rule {
        max_lag: settings.max_lag,
        silent: SILENT.max(every * 5),
    };
    tokio::spawn(follow(
        Arc::downgrade(inner),
        inner.primary.clone(),
        DB::WRITTEN,
        every,
        |inner, position, asked| inner.history.lock().record(position, asked),
    ));
    for (i, replica) in inner.replicas.iter().enumerate() {
        let found = move |inner: &Inner<DB>, position: Position, asked: Tick| {
            let history = inner.history.lock();
            let Some((primary, _)) = history.last() else {
                return;
            };
            let shows = history.shown_until(&position);
            drop(history);
            let until = shows.map(|shows| rule.until(asked, shows, primary));
            *inner.replicas[i].found.lock() = Found {
                position,
                until: until.unwrap_or_default(),
                shows,
                at: Some(asked),
            };
        };
        let server = replica.server.clone();
        tokio::spawn(follow(
            Arc::downgrade(inner),
            server,
            DB::APPLIED,
            every,
            found,
        ));
    }
}

async fn sweep<DB: Backend>(inner: Weak<Inner<DB>>) {
    let mut ticks = interval(SWEEP);
    loop {
        ticks.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        inner.pools().for_each(|pool| pool.sweep());
    }
}

async fn follow<DB: Backend>(
    inner: Weak<Inner<DB>>,
    server: Arc<Server<DB>>,
    question: &'static str,
    every: Duration,
    found: impl Fn(&Inner<DB>, Position, Tick),
) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut raw: Option<Raw<DB>> = None;
    let mut silent = false;
    loop {
        ticks.tick().await;
        if inner.strong_count() == 0 {
            return;
        }
        // Before it is asked: its answer holds for this time, if not for a later one.
        let asked = server.clock.now();
        let answer = ask(&server, &mut raw, question).await;
        if answer.is_none() != silent {
            silent = answer.is_none();
            if silent {
                tracing::warn!(server = &*server.name, "database does not answer");
                server.broke(server.generation());
            } else {
                tracing::info!(server = &*server.name, "database answers again");
                server.is_back();
            }
        }
        let Some(answer) = answer else { continue };
        let Some(inner) = inner.upgrade() else { return };
        if let Ok(position) = answer.parse() {
            found(&inner, position, asked);
        }
    }
}

/// `None` where it does not answer; the connection is gone then.
async fn ask<DB: Backend>(
    server: &Server<DB>,
    kept: &mut Option<Raw<DB>>,
    question: &'static str,
) -> Option<String> {
    let mut raw = match kept.take() {
        Some(raw) => raw,
        None => server.probe(SILENT).await?,
    };
    let answer = timeout(SILENT * 2, DB::text(&mut raw, question.to_owned())).await;
    let answer = answer.ok()?.ok()?;
    *kept = Some(raw);
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_read_while_it_is_near_and_answers() {
        let rule = Rule {
            max_lag: Duration::from_secs(1),
            silent: SILENT,
        };
        let at = Tick::from_millis;
        // Near: for as long as it may be silent.
        assert_eq!(rule.until(at(10_000), at(9_950), at(9_950)), at(10_500));
        // Not near: until what it shows is too old.
        assert_eq!(rule.until(at(10_000), at(9_200), at(9_950)), at(10_200));
        // Too far behind already.
        assert!(rule.until(at(10_000), at(8_000), at(9_950)) <= at(10_000));
        // The primary is gone: by the last that was heard of it.
        assert_eq!(rule.until(at(60_000), at(9_000), at(9_950)), at(60_500));
        assert_eq!(
            rule.until(at(60_000), at(8_000), at(9_950)),
            Tick::default()
        );
    }
}
