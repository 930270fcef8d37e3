//! The default limit.

use std::time::Duration;

use super::{Limit, Step, Window};

mod belief;
mod ramp;
mod sample;
#[cfg(test)]
mod tests;

use belief::Belief;
use ramp::{Ramp, Verdict};
use sample::Sample;

/// Bounds of an [`Adaptive`] limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptiveSettings {
    /// Never fewer places than this; at least 1.
    pub min: u32,
    /// Never more places than this.
    pub max: u32,
    /// Places before anything is known.
    pub start: u32,
}

impl AdaptiveSettings {
    fn clamp(&self, limit: f64) -> u32 {
        (limit.round() as u32).clamp(self.min, self.max)
    }
}

impl Default for AdaptiveSettings {
    fn default() -> Self {
        Self {
            min: 1,
            max: 4096,
            start: 20,
        }
    }
}

/// Finds the knee.
#[derive(Debug)]
pub struct Adaptive {
    settings: AdaptiveSettings,
    belief: Belief,
    phase: Phase,
    /// Where the limit rests between probes.
    rest: u32,
    /// At rest, faded.
    here: Sample,
    /// Recent latency while the limit did not bind.
    base: Option<Sample>,
    /// Squared coefficient of variation of what is measured, per call.
    noise: f64,
    /// Evidence that latency at rest has risen, fallen.
    drift: (f64, f64),
    /// Calls that were answered, and that clients gave up, since this was last looked at.
    lost: (f64, f64),
    /// Share of calls that clients give up anyway.
    aborts: f64,
    /// Probes since the last one upward.
    dips: u32,
    /// Time at rest since the last probe, in seconds; and what it should be.
    rested: f64,
    due: f64,
}

#[derive(Debug)]
enum Phase {
    Ramp(Ramp),
    /// A new limit takes hold.
    Settle,
    Rest,
    /// To a limit other than the one rested at: let it settle, then measure.
    Probe {
        level: u32,
        settle: f64,
        measure: f64,
        sample: Sample,
    },
}

/// Probes downward between two upward.
const UP_EVERY: u32 = 2;
/// Length of a window while nothing is at stake, in seconds.
const IDLE: f64 = 0.05;

impl Adaptive {
    /// Within the given bounds.
    #[must_use]
    pub fn new(settings: AdaptiveSettings) -> Self {
        let min = settings.min.max(1);
        let max = settings.max.max(min);
        let start = settings.start.clamp(min, max);
        Self {
            settings: AdaptiveSettings { min, max, start },
            belief: Belief::new(max),
            phase: Phase::Ramp(Ramp::at(f64::from(start))),
            rest: start,
            here: Sample::default(),
            base: None,
            noise: 1.0,
            drift: (0.0, 0.0),
            lost: (0.0, 0.0),
            aborts: 0.0,
            dips: 0,
            rested: 0.0,
            due: 0.0,
        }
    }

    fn clamp(&self, limit: f64) -> u32 {
        self.settings.clamp(limit)
    }

    /// The window tells nothing of the limit: it was not what held calls back.
    fn unbound(&mut self, window: &Window) -> Step {
        if window.mean_inflight < 0.8 * f64::from(window.limit) {
            self.note_base(window);
        }
        if let Phase::Probe { .. } = self.phase {
            self.due = 3.0 * self.measure_window();
        }
        if matches!(self.phase, Phase::Probe { .. } | Phase::Settle) {
            self.phase = Phase::Rest;
        }
        self.step(IDLE)
    }

    /// Most clients leave before they are answered: the queue at the origin is hopeless, and
    /// latencies of the few that were answered tell nothing.
    fn hopeless(&mut self, window: &Window) -> Option<Step> {
        if window.mean_inflight > 1.2 * f64::from(window.limit) {
            // An earlier cut has yet to take hold.
            self.lost = (0.0, 0.0);
            return None;
        }
        self.lost.0 += f64::from(window.succeeded);
        self.lost.1 += f64::from(window.ignored);
        if self.lost.0 + self.lost.1 < 8.0 {
            return None;
        }
        let (ok, lost) = std::mem::take(&mut self.lost);
        let share = lost / (ok + lost);
        if !window.bound {
            self.aborts += 0.2 * (share - self.aborts);
        }
        if !window.bound || share < 0.3 + 2.0 * self.aborts || window.limit <= 2 {
            return None;
        }
        let knee = f64::from(window.limit) / 8.0;
        self.aborts += 0.1 * (share - self.aborts);
        self.belief.set(knee, 0.8);
        Some(self.settle(f64::from(window.limit) / 4.0, window))
    }

    fn step(&self, seconds: f64) -> Step {
        let limit = match &self.phase {
            Phase::Probe { level, .. } => *level,
            _ => self.rest,
        };
        Step {
            limit,
            after: Duration::from_secs_f64(seconds.clamp(0.001, 60.0)),
        }
    }

    fn ramp(&mut self, window: &Window) -> Step {
        let base = self
            .base
            .as_ref()
            .filter(|b| b.calls >= 30.0)
            .map(Sample::mean);
        let Phase::Ramp(ramp) = &mut self.phase else {
            return self.step(IDLE);
        };
        let verdict = ramp.window(window, base);
        let pace = if window.bound {
            ramp.pace()
        } else {
            (0.4 * IDLE).min(20.0 * ramp.pace())
        };
        match verdict {
            Verdict::Stay => {
                if ramp.starting() && !window.bound {
                    self.note_base(window);
                }
                self.step(pace)
            }
            Verdict::Grow(level) => {
                self.rest = self.settings.clamp(level);
                if f64::from(self.rest) < level {
                    self.phase = Phase::Ramp(Ramp::at(f64::from(self.rest)));
                }
                self.step(0.001)
            }
            Verdict::Found(knee) | Verdict::Suspect(knee) => {
                let sure = matches!(verdict, Verdict::Found(_));
                self.belief.set(knee, if sure { 0.6 } else { 1.0 });
                self.settle(1.6 * knee + 0.5, window)
            }
        }
    }

    fn note_base(&mut self, window: &Window) {
        if window.succeeded > 0 {
            let base = self.base.get_or_insert_default();
            base.fade(0.99_f64.powi(window.succeeded.min(1000) as i32));
            base.add(window);
        }
    }

    /// Rests at `limit` from now on, and looks again when it has taken hold.
    fn settle(&mut self, limit: f64, window: &Window) -> Step {
        let limit = self.clamp(limit);
        let latency = Sample::of(window).mean().max(self.here.mean());
        let drain = (window.mean_inflight - f64::from(limit)).max(0.0) / f64::from(limit);
        self.rest = limit;
        self.here = Sample::default();
        self.drift = (0.0, 0.0);
        let left = latency.max(1e-3) * (1.0 + drain.min(8.0));
        self.phase = Phase::Settle;
        self.step(left)
    }

    fn measure_window(&self) -> f64 {
        let latency = self.here.mean();
        (2.0 * latency)
            .max((40.0 / self.here.throughput().max(1e-9)).min(20.0 * latency))
            .max(0.02)
    }

    fn at_rest(&mut self, window: &Window) -> Step {
        let sample = Sample::of(window);
        self.rested += sample.seconds;
        if self.here.calls >= 8.0 {
            self.watch(&sample);
        }
        self.here.fade(0.9);
        self.here.add(window);
        let jump = self.drift.0 > 5.0 || self.drift.1 > 3.0;
        if self.here.calls < 20.0
            || self.here.seconds < 3.5 * self.here.mean()
            || (!jump && self.rested < self.due)
        {
            let w = self.measure_window();
            return self.step(w);
        }
        if jump {
            let knee = self.belief.quantile(0.5);
            let rest = f64::from(self.rest);
            if self.drift.1 > 3.0 {
                self.belief.doubt(knee, 2.0 * rest, 0.5);
            } else {
                self.belief.doubt(0.2 * knee, knee, 0.5);
            }
            self.here = sample;
        }
        self.probe(self.drift.1 > 3.0)
    }

    /// Compares latency at rest with what it was, and counts what noise does not explain.
    fn watch(&mut self, sample: &Sample) {
        let change = (sample.mean() / self.here.mean()).ln();
        let variance = self.noise * (1.0 / sample.calls.max(1.0) + 1.0 / self.here.calls) + 4e-4;
        let z = change / variance.sqrt();
        self.drift.0 = (self.drift.0 + z - 0.7).max(0.0);
        self.drift.1 = (self.drift.1 - z - 0.7).max(0.0);
    }

    fn probe(&mut self, up: bool) -> Step {
        self.drift = (0.0, 0.0);
        self.rested = 0.0;
        let rest = f64::from(self.rest);
        let up = up || self.dips >= UP_EVERY || self.belief.above(0.95 * rest) > 0.1;
        let level = if up {
            self.dips = 0;
            (1.6 * rest).max(rest + 1.0)
        } else {
            self.dips += 1;
            (0.94 * self.belief.quantile(0.5))
                .round()
                .min(rest - 1.0)
                .max(0.62 * rest)
        };
        let level = self.clamp(level);
        if level == self.rest {
            self.due = self.measure_window() * 20.0;
            self.phase = Phase::Rest;
            return self.step(self.measure_window());
        }
        let latency = self.here.mean();
        let settle = 1.5 * latency * (1.0_f64).max(f64::from(level) / rest);
        let measure = (4.0 * latency).max(40.0 / self.here.throughput().max(1e-9));
        self.phase = Phase::Probe {
            level,
            settle,
            measure,
            sample: Sample::default(),
        };
        self.step(settle)
    }

    fn probing(&mut self, window: &Window) -> Step {
        let Phase::Probe {
            settle,
            measure,
            sample,
            ..
        } = &mut self.phase
        else {
            return self.step(IDLE);
        };
        if *settle > 0.0 {
            *settle = 0.0;
            let measure = *measure;
            return self.step(measure);
        }
        sample.add(window);
        let (sample, measure) = (*sample, *measure);
        if sample.calls < 10.0 && sample.seconds < 10.0 * measure {
            return self.step(measure);
        }
        let error = self.learn(sample.inflight(), &sample);
        let grown = (sample.inflight() / f64::from(self.rest)).ln();
        let faster = (sample.throughput() / self.here.throughput()).ln();
        if grown < 0.0 && faster > 2.5 * error {
            // More from fewer places: the origin's capacity has changed. Look upward next.
            self.dips = UP_EVERY;
        }
        if grown > 0.2 && faster > 0.75 * grown && faster > 2.5 * error {
            return self.ramp_again(&sample);
        }
        let spread = self.belief.spread().max(0.02);
        let cost = sample.seconds * (0.2 / (spread * spread)).clamp(0.5, 40.0);
        self.due = if self.dips == UP_EVERY && faster > 2.5 * error {
            0.0
        } else {
            cost
        };
        let next = (1.25 * self.belief.quantile(0.5)).max(1.1 * self.belief.quantile(0.9)) + 0.3;
        let next = next.min(2.0 * sample.inflight().max(f64::from(self.rest)));
        if (next / f64::from(self.rest)).ln().abs() < 0.08 || self.clamp(next) == self.rest {
            // Not worth a move: what was measured here stays good.
            self.phase = Phase::Settle;
            let left = self.here.mean();
            return self.step(left);
        }
        self.settle(next, window)
    }

    /// Throughput grew with the limit: the knee is far, as after a repair. Doubt costs goodput.
    fn ramp_again(&mut self, sample: &Sample) -> Step {
        let ramp = Ramp::again(sample.inflight(), sample.rate());
        self.rest = self.clamp(ramp.level());
        self.here = Sample::default();
        self.phase = Phase::Ramp(ramp);
        self.step(0.001)
    }

    /// Learns from a probe, and says how far (one standard deviation) its comparison may be off.
    fn learn(&mut self, level: f64, sample: &Sample) -> f64 {
        let rest = f64::from(self.rest);
        let difference = (sample.throughput() / self.here.throughput()).ln();
        let variance = self.noise * (1.0 / sample.calls + 1.0 / self.here.calls) + 4e-4;
        self.belief.doubt(rest / 4.0, 2.0 * rest.max(level), 0.03);
        self.belief.observe(level, rest, difference, variance);
        let knee = self.belief.quantile(0.5);
        let miss = difference - ((level / knee).min(1.0) / (rest / knee).min(1.0)).ln();
        let noise = miss * miss / (1.0 / sample.calls + 1.0 / self.here.calls);
        self.noise = (self.noise + 0.15 * (noise.min(6.0) - self.noise)).clamp(0.1, 4.0);
        variance.sqrt()
    }
}

impl Limit for Adaptive {
    fn start(&self) -> Step {
        Step {
            limit: self.rest,
            after: Duration::from_millis(1),
        }
    }

    fn update(&mut self, window: &Window) -> Step {
        if let Some(step) = self.hopeless(window) {
            return step;
        }
        if matches!(self.phase, Phase::Ramp(_)) {
            return self.ramp(window);
        }
        if let Phase::Probe { level, .. } = self.phase
            && level > self.rest
            && window.succeeded > 0
            && window.mean_inflight > 1.08 * f64::from(self.rest)
        {
            // A place that was not there before takes time to fill; what was filled counts.
            return self.probing(window);
        }
        let full = window.mean_inflight >= 0.85 * f64::from(window.limit);
        if !window.bound || !full {
            return self.unbound(window);
        }
        if window.succeeded == 0 {
            return self.step(window.seconds());
        }
        match &self.phase {
            Phase::Ramp(_) => self.ramp(window),
            Phase::Settle => {
                self.phase = Phase::Rest;
                let w = if self.here.calls > 0.0 {
                    self.measure_window()
                } else {
                    Sample::of(window).mean().max(0.02)
                };
                self.step(w)
            }
            Phase::Rest => self.at_rest(window),
            Phase::Probe { .. } => self.probing(window),
        }
    }

    fn name(&self) -> &'static str {
        "adaptive"
    }

    fn knee(&self) -> Option<u32> {
        (!matches!(self.phase, Phase::Ramp(_)))
            .then(|| (self.belief.quantile(0.5).round() as u32).max(1))
    }

    fn base_latency(&self) -> Option<f64> {
        if self.here.calls >= 8.0 {
            let knee = self.belief.quantile(0.5);
            return Some(self.here.mean() * (knee / f64::from(self.rest)).min(1.0));
        }
        self.base
            .as_ref()
            .filter(|b| b.calls >= 1.0)
            .map(Sample::mean)
    }
}
