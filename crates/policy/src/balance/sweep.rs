//! The look over all hosts, ten times a second, by whichever call comes by.
//!
//! What is typical is the median, which half of the hosts cannot move: a mean would follow the slow
//! host that it is there to show up.

use super::fleet::Fleet;
use super::hosts::Seat;
use super::outlier::HostState;
use crate::Tick;

/// So many hosts, spread over the list, speak for all.
const SAMPLE: usize = 64;
/// A host that was asked less than a quarter of its due, though it answered every time and so
/// often, may owe that to a latency of before.
const SHY_PART: u64 = 4;
const ANSWERS: u32 = 3;

/// The medians of what `values` yields, of at most [`SAMPLE`]: the lower and the upper one, which
/// differ where the count is even. Of two hosts one may be bad, so each reader takes the one that is
/// right if it is.
fn medians(values: impl Iterator<Item = f32>) -> Option<(f32, f32)> {
    let mut sample = [0.0; SAMPLE];
    let mut count = 0;
    for (slot, value) in sample.iter_mut().zip(values) {
        *slot = value;
        count += 1;
    }
    let sample = &mut sample[..count];
    sample.sort_unstable_by(f32::total_cmp);
    let upper = *sample.get(count / 2)?;
    Some((sample[(count - 1) / 2], upper))
}

/// Finds what is typical, counts the ejected, lets the warm serve. When the next probe is due.
pub(super) fn run(seats: &[Seat], members: &[u32], fleet: &Fleet, now: Tick) -> Option<Tick> {
    let stride = members.len().div_ceil(SAMPLE).max(1);
    let sampled = || {
        members
            .iter()
            .step_by(stride)
            .map(|&at| &seats[at as usize])
    };
    let serving = || sampled().filter(|seat| seat.host.is_serving());
    // Of two, the slower one is not typical, nor the idle one, nor the one that fails.
    let latency = medians(serving().filter_map(|seat| seat.host.known_latency(now)));
    let by_latency = fleet.settings.algorithm.by_latency();
    let load = medians(serving().map(|seat| seat.host.work(by_latency, seat.inverse, now)));
    fleet.set_typical(latency.map(|m| m.0), load.map(|m| m.1));
    let failing = medians(serving().map(|seat| seat.host.failing(now)));
    let failing = failing.map_or(0.0, |m| m.0);

    if fleet.judge(now) {
        judge(seats, members, fleet, now);
    }
    let (mut ejected, mut due) = (0, None);
    for &at in members {
        let host = &seats[at as usize].host;
        match host.state() {
            (HostState::Serving, _) if host.is_starved(failing, now) => host.eject(now),
            (HostState::Serving, _) => {}
            (HostState::Warming, _) => host.settle(now),
            (HostState::Probing, _) => ejected += 1,
            (HostState::Ejected, at) => {
                ejected += 1;
                due = Some(due.map_or(at, |due: Tick| due.min(at)));
            }
        }
    }
    fleet.set_ejected(ejected);
    due
}

/// Ejects who fails far more of its calls than the others together: not more than the mean, which
/// it is part of, nor by deviations of it, since one of five is never off by 1.9 of those.
fn judge(seats: &[Seat], members: &[u32], fleet: &Fleet, now: Tick) {
    let settings = &fleet.settings.outlier;
    let hosts = || members.iter().map(|&at| &*seats[at as usize].host);
    let (mut calls, mut failures) = (0_u64, 0_u64);
    for host in hosts() {
        let (own, failed) = host.tallied();
        calls += u64::from(own);
        failures += u64::from(failed);
    }
    fleet.set_calls(calls, members.len());
    for host in hosts() {
        let (own, failed) = host.tallied();
        host.clear_tally();
        let due = calls / members.len().max(1) as u64;
        if failed == 0 && own >= ANSWERS && u64::from(own) < due / SHY_PART {
            host.doubt_latency(now);
        }
        let others = calls.saturating_sub(u64::from(own));
        if own < settings.least_calls || others < u64::from(settings.least_calls) {
            continue;
        }
        let theirs = failures.saturating_sub(u64::from(failed)) as f64 / others as f64;
        if f64::from(failed) / f64::from(own) - theirs > settings.excess {
            host.eject(now);
        }
    }
}
