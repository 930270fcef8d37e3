//! At rest, and the probes in between.

use super::ramp::Ramp;
use super::sample::Sample;
use super::{Adaptive, IDLE, Phase};
use crate::limit::{Step, Window};

/// Probes downward between two upward.
const UP_EVERY: u32 = 2;
/// Evidence of a change (a sum of standard deviations above 0.7) that brings a probe. Looking
/// upward costs no goodput, so less of it will do.
const RISEN: f64 = 5.0;
const FALLEN: f64 = 3.0;
/// Where to rest, in knees.
const MARGIN: f64 = 1.33;
/// However uncertain the knee.
const MOST: f64 = 2.0;
/// A slope above the knee that leaves no margin.
const DEAR: f64 = 0.3;
/// This part of the callers leaving is no accident.
const LEAVERS: f64 = 0.04;
/// A difference of this many standard deviations is not noise.
const CLEAR: f64 = 2.5;
/// As many as a ramp takes, which costs much when begun in error.
const SURE: f64 = 3.3;

impl Adaptive {
    pub(super) fn measure_window(&self) -> f64 {
        let latency = self.here.mean();
        (2.0 * latency)
            .max((40.0 / self.here.throughput().max(1e-9)).min(20.0 * latency))
            .max(0.02)
    }

    pub(super) fn at_rest(&mut self, window: &Window) -> Step {
        if window.mean_inflight > 1.2 * f64::from(window.limit) + 1.0 {
            // A cut has yet to take hold.
            self.here = Sample::default();
            return self.step((0.5 * self.measure_window()).min(0.1));
        }
        let sample = Sample::of(window);
        self.rested += sample.seconds;
        if self.here.calls >= 8.0 {
            self.watch(&sample);
        }
        self.here.fade(0.9);
        self.here.add(window);
        if self.here.calls >= 20.0 && self.are_leaving() {
            let least = self
                .belief
                .quantile(0.5)
                .max(0.85 * f64::from(self.rest))
                .ceil();
            if self.clamp(least) < self.rest {
                return self.settle(least, window);
            }
            // At the knee, too: for reasons of their own.
            self.aborts += 0.05 * (self.here.lost() - self.aborts);
        }
        let jump = self.drift.0 > RISEN || self.drift.1 > FALLEN;
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
            if self.drift.1 > FALLEN {
                self.belief.doubt(knee, 2.0 * rest, 0.5);
            } else {
                self.belief.doubt(0.2 * knee, knee, 0.5);
            }
            self.here = sample;
        }
        self.probe(self.drift.1 > FALLEN)
    }

    /// Callers give up at the origin, more than they do anyway: it holds too many.
    fn are_leaving(&self) -> bool {
        self.here.lost() > LEAVERS + 1.5 * self.aborts
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
        let up = up && !self.are_leaving();
        let higher = ((1.0 + 0.6 * self.free().max(0.25)) * rest).max(rest + 1.0);
        let level = if up && f64::from(self.clamp(higher)) > 1.1 * rest {
            self.dips = 0;
            higher
        } else {
            self.dips += 1;
            (0.97 * self.belief.quantile(0.5))
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
        // While little is known a coarse look is enough; not upward, where an error is dear.
        let coarse = if level < self.rest {
            (2.5 * self.belief.spread()).min(1.0)
        } else {
            0.0
        };
        let long = 12.0 - 8.0 * coarse;
        let measure =
            (4.0 * latency).max((200.0 / self.here.throughput().max(1e-9)).min(long * latency));
        self.phase = Phase::Probe {
            level,
            settle,
            measure,
            sample: Sample::default(),
        };
        self.step(settle)
    }

    pub(super) fn probing(&mut self, window: &Window) -> Step {
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
            let part = *measure / 3.0;
            return self.step(part);
        }
        sample.add(window);
        let (sample, measure) = (*sample, *measure);
        let enough = sample.seconds > 0.9 * measure || sample.lost() > 0.2;
        if sample.calls >= 1.0 && !enough {
            return self.step(measure / 3.0);
        }
        if sample.calls < 1.0 {
            self.phase = Phase::Settle;
            return self.step(measure);
        }
        if sample.calls < 10.0 && sample.seconds < 10.0 * measure {
            return self.step(measure);
        }
        let error = self.learn(sample.inflight(), &sample);
        let grown = (sample.inflight() / f64::from(self.rest)).ln();
        let faster = (sample.throughput() / self.here.throughput()).ln();
        if grown < 0.0 && faster > CLEAR * error {
            // More from fewer places: the origin's capacity has changed. Look upward next.
            self.dips = UP_EVERY;
        }
        if grown > 0.2 && faster > 0.75 * grown && faster > SURE * error {
            return self.ramp_again(&sample);
        }
        let spread = self.belief.spread().max(0.02);
        let cost = sample.seconds * (0.4 / (spread * spread)).clamp(0.5, 60.0);
        self.due = if self.dips == UP_EVERY && faster > CLEAR * error {
            0.0
        } else {
            cost
        };
        let next = self.above_the_knee();
        let next = next.min(2.0 * sample.inflight().max(f64::from(self.rest)));
        if (next / f64::from(self.rest)).ln().abs() < 0.08 || self.clamp(next) == self.rest {
            // Not worth a move: what was measured here stays good.
            self.phase = Phase::Settle;
            let left = self.here.mean();
            return self.step(left);
        }
        self.settle(next, window)
    }

    /// Where to rest: a little above the knee, more while it is uncertain; less where calls that
    /// queue at the origin cost throughput.
    fn above_the_knee(&self) -> f64 {
        let knee = self.belief.quantile(0.5);
        let margin = (1.15 * self.belief.quantile(0.9) / knee).clamp(MARGIN, MOST);
        knee * margin.powf(self.free()) + 0.3
    }

    /// From 1, where a queue at the origin costs no throughput, to 0, where it costs much.
    fn free(&self) -> f64 {
        (1.0 + (self.belief.slope() + 0.05).min(0.0) / DEAR).max(0.0)
    }

    /// Throughput grew with the limit: the knee is far, as after a repair. Doubt costs goodput.
    pub(super) fn ramp_again(&mut self, sample: &Sample) -> Step {
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
        let slope = self.belief.slope();
        let expected = (level / knee).min(1.0).ln() - (rest / knee).min(1.0).ln();
        let miss = difference - expected - slope * (level / rest).ln();
        let noise = miss * miss / (1.0 / sample.calls + 1.0 / self.here.calls);
        self.noise = (self.noise + 0.15 * (noise.min(6.0) - self.noise)).clamp(0.1, 4.0);
        variance.sqrt()
    }
}
