//! Asking hosts how they are.
//!
//! Each question has a connection of its own, which is closed again: what is asked is whether the
//! host takes new ones and answers, as a client that comes along would find it.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::{Request, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use seawall::clock::Clock;
use seawall::config::HealthConfig;
use tokio::task::JoinSet;

use super::{Endpoint, Fleet};
use crate::body::RequestBody;
use crate::pool::Dialled;
use crate::socket::Stream;
use crate::tls::Offer;

/// How many hosts are asked at once.
const AT_ONCE: usize = 32;

/// Answers in a row of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    good: u32,
    bad: u32,
}

impl Row {
    /// The verdict that this answer leads to, if it is time for one.
    fn add(&mut self, good: bool, checks: &HealthConfig) -> Option<bool> {
        *self = if good {
            Self {
                good: self.good.saturating_add(1),
                bad: 0,
            }
        } else {
            Self {
                good: 0,
                bad: self.bad.saturating_add(1),
            }
        };
        if self.good >= checks.healthy_after {
            Some(true)
        } else {
            (self.bad >= checks.unhealthy_after).then_some(false)
        }
    }
}

/// Asks every host in turn, for ever.
pub(super) async fn run(fleet: Weak<Fleet>, clock: Clock, path: String, checks: HealthConfig) {
    let mut rows: BTreeMap<u64, Row> = BTreeMap::new();
    let mut round = tokio::time::interval(checks.interval);
    round.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        round.tick().await;
        let known = fleet
            .upgrade()
            .map(|fleet| (fleet.endpoints(), fleet.authority()));
        let Some((endpoints, host)) = known else {
            return;
        };
        let keys: HashSet<u64> = endpoints.iter().map(|endpoint| endpoint.key).collect();
        rows.retain(|key, _| keys.contains(key));
        let mut asked = JoinSet::new();
        let mut waiting = endpoints.into_iter();
        loop {
            while asked.len() < AT_ONCE
                && let Some(endpoint) = waiting.next()
            {
                let (host, path, timeout) = (host.clone(), path.clone(), checks.timeout);
                asked.spawn(async move {
                    let good = is_well(&endpoint, &host, &path, timeout).await;
                    (endpoint.key, good)
                });
            }
            let Some(answer) = asked.join_next().await else {
                break;
            };
            let Ok((key, good)) = answer else { continue };
            let verdict = rows.entry(key).or_default().add(good, &checks);
            if let (Some(healthy), Some(fleet)) = (verdict, fleet.upgrade()) {
                fleet.judged(key, healthy, clock.now());
            }
        }
    }
}

async fn is_well(endpoint: &Arc<Endpoint>, host: &str, path: &str, timeout: Duration) -> bool {
    let ask = async {
        match endpoint.pool.dial(Offer::Http1).await.ok()? {
            Dialled::Plain(stream) => answers(stream, host, path).await,
            Dialled::Tls(stream, _) => answers(*stream, host, path).await,
        }
    };
    let answer = tokio::time::timeout(timeout, ask).await;
    answer.ok().flatten().unwrap_or(false)
}

async fn answers(stream: impl Stream, host: &str, path: &str) -> Option<bool> {
    let (mut send, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let request = Request::get(path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, "seawall-health")
        .body(RequestBody::Empty)
        .ok()?;
    tokio::select! {
        answer = send.send_request(request) => Some(answer.ok()?.status().is_success()),
        _ = connection => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_takes_answers_in_a_row() {
        let checks = HealthConfig {
            healthy_after: 2,
            unhealthy_after: 3,
            ..HealthConfig::default()
        };
        let mut row = Row::default();
        let mut verdicts = |answers: &[bool]| {
            let answers = answers.iter().map(|good| row.add(*good, &checks));
            answers.collect::<Vec<_>>()
        };
        assert_eq!(verdicts(&[false, false, true, false]), [None; 4]);
        assert_eq!(verdicts(&[false, false]), [None, Some(false)]);
        assert_eq!(verdicts(&[true, true]), [None, Some(true)]);
    }
}
