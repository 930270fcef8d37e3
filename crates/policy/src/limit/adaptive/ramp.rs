//! The start: from nothing known to the neighbourhood of the knee in a few round trips.

use super::sample::Sample;
use crate::limit::Window;

/// A level grows by this when throughput grew with the limit.
const GROWTH: f64 = 5.0;
/// A level is judged when this part of it has been answered.
const TURNOVER: f64 = 0.75;
/// But not by fewer calls than this.
const FEWEST: f64 = 10.0;
/// Throughput that grows by less than in-flight to this power has met the knee.
const ELASTICITY: f64 = 0.6;
/// A batch whose latency is this many times the least known stood in a queue.
const LATE: f64 = 3.0;
/// Its quickest call must also have taken this part of the time that all so far spent at the origin
/// per call answered: where service is spread, the first to be answered are the short calls, and
/// their mean is far below that of all.
const AS_LONG: f64 = 0.5;
/// One that may have: the next step is a careful one.
const SUSPICIOUS: f64 = 1.6;
const CAREFUL: f64 = 2.0;
/// The step of a ramp that starts from a known level.
const AGAIN: f64 = 2.5;
/// A level at which a call answered takes this many times as long as at the level before has met the
/// knee, whatever throughput says: the first calls to a cold origin are slow for reasons of their
/// own (connections to be made), and make throughput seem to grow for one level too many. Time is
/// counted by all that are there, or the long calls of a spread service would not show before
/// they are answered, ...
const LONGER: f64 = 1.6;
/// ... and those answered must also have taken so much longer, or long calls that gather would
/// pass for a queue.
const ANSWERED_LONGER: f64 = 1.2;
/// Calls that make a batch.
const BATCH: f64 = 6.0;

/// What the ramp says after a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Not enough seen.
    Stay,
    /// The calls of this level did not queue: go on at this limit.
    Grow(f64),
    /// They did; the knee is about here.
    Found(f64),
    /// They seem to, from a few calls: the knee may be here.
    Suspect(f64),
}

/// Slow start by cohorts: decides on the calls that were admitted under the present level.
#[derive(Clone, Debug)]
pub(super) struct Ramp {
    level: f64,
    growth: f64,
    /// Windows of this level since it was first used up.
    seen: Sample,
    fresh: f64,
    /// In-flight and turnover rate of the level before.
    before: Option<(f64, f64)>,
    batch: Sample,
    last: Sample,
    /// Of the level before: mean latency, and time spent there per call answered.
    latency: Option<(f64, f64)>,
    /// Latency of the first batch ever: the nearest thing to one without a queue.
    first: Option<f64>,
}

impl Ramp {
    pub(super) fn at(level: f64) -> Self {
        Self {
            level,
            growth: GROWTH,
            seen: Sample::default(),
            fresh: 0.0,
            before: None,
            batch: Sample::default(),
            last: Sample::default(),
            latency: None,
            first: None,
        }
    }

    /// From a level that calls were seen not to queue at: in-flight and throughput.
    pub(super) fn again(inflight: f64, rate: f64) -> Self {
        Self {
            before: Some((inflight, TURNOVER * rate)),
            growth: AGAIN,
            ..Self::at(AGAIN * inflight)
        }
    }

    pub(super) fn level(&self) -> f64 {
        self.level
    }

    /// Whether it has not grown yet.
    pub(super) fn starting(&self) -> bool {
        self.before.is_none()
    }

    /// Next window's length in seconds: an eighth of the time the level has taken so far.
    pub(super) fn pace(&self) -> f64 {
        (self.seen.seconds / 8.0).clamp(0.001, 0.25)
    }

    /// `base` is the recent latency without a queue, where traffic has shown one.
    pub(super) fn window(&mut self, window: &Window, base: Option<f64>) -> Verdict {
        if self.starting() {
            self.batch.add(window);
            if self.batch.calls >= BATCH {
                let batch = std::mem::take(&mut self.batch);
                self.last = batch;
                if let Some(knee) = self.late(&batch, base).filter(|_| window.bound) {
                    return Verdict::Suspect(knee);
                }
            }
            if !window.bound {
                (self.seen, self.fresh) = (Sample::default(), 0.0);
                return Verdict::Stay;
            }
        }
        self.seen.add(window);
        self.fresh += f64::from(window.fresh);
        let inflight = self.seen.inflight();
        let enough = if self.starting() {
            inflight.max(4.0)
        } else {
            (TURNOVER * inflight).max(FEWEST)
        };
        if let Some((before, rate_before)) = self.before {
            let grown = (inflight / before).ln();
            // Both rates are counts of about a level's worth of calls: the larger the steps, the
            // surer the difference.
            let error = (1.0 / before + 1.0 / inflight).sqrt();
            let least = (ELASTICITY * grown).min(0.8 * grown - error).max(0.1);
            let wanted = rate_before * least.exp();
            let over = self.fresh >= enough;
            let rate = self.fresh.max(1.0) / self.seen.seconds;
            // Unbound, chance alone makes in-flight wander.
            let used_up = window.bound && inflight > 0.6 * self.level;
            let far = grown > if used_up { 0.25 } else { 0.7 };
            if far && rate < wanted && (over || self.seen.seconds > enough / wanted) {
                let faster = self.seen.rate() / rate_before * TURNOVER;
                let knee = before * faster.clamp(0.5, self.growth);
                // A suspicion that proved right: the level before was above the knee, too.
                return match self.first.filter(|_| self.growth == CAREFUL) {
                    Some(first) => {
                        let hint = (knee * self.seen.rate() * first).sqrt();
                        Verdict::Suspect(hint.clamp(0.7 * knee, knee))
                    }
                    None => Verdict::Found(knee),
                };
            }
        }
        if self.fresh < enough {
            return Verdict::Stay;
        }
        let seen = (self.seen.mean(), self.seen.spent());
        if let Some((mean, spent)) = self.latency.replace(seen)
            && window.bound
            && seen.1 > LONGER * spent
            && seen.0 > ANSWERED_LONGER * mean
        {
            let knee = self.seen.rate() * spent;
            return Verdict::Found(knee.clamp(self.level / (2.0 * self.growth), self.level));
        }
        // As it would have been had the level been judged by the usual part.
        let rate = TURNOVER * inflight / self.seen.seconds;
        (self.seen, self.fresh) = (Sample::default(), 0.0);
        if !window.bound {
            return Verdict::Stay;
        }
        let suspicious = self.starting()
            && self.first.is_some_and(|first| {
                let last = if self.batch.calls >= 3.0 {
                    &self.batch
                } else {
                    &self.last
                };
                last.least > SUSPICIOUS * first && last.calls > 0.0
            });
        self.before = Some((inflight, rate));
        if suspicious {
            self.growth = CAREFUL;
        }
        self.level *= self.growth;
        Verdict::Grow(self.level)
    }

    /// Every call of a batch was late: a first-in-first-out queue, and the knee by Little's law.
    fn late(&mut self, batch: &Sample, base: Option<f64>) -> Option<f64> {
        let first = *self.first.get_or_insert(batch.mean());
        let late = match base {
            // The mean alone would take two long calls of a few for a queue.
            Some(base) => batch.mean() > 2.2 * base && batch.least > 0.6 * base,
            None => batch.least > (LATE * first).max(AS_LONG * self.seen.spent()),
        };
        let knee = batch.rate() * base.unwrap_or(first);
        // Half at a time: a batch without a short call may be chance.
        late.then(|| knee.clamp(self.level / 3.2, self.level))
    }
}
