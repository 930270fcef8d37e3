//! Measurements at one limit, put together from windows.

use crate::limit::Window;

/// Windows at one limit, added up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) calls: f64,
    pub(super) latency: f64,
    pub(super) least: f64,
    /// Callers that left.
    pub(super) lost: f64,
    pub(super) places: f64,
    pub(super) seconds: f64,
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            calls: 0.0,
            latency: 0.0,
            least: f64::INFINITY,
            lost: 0.0,
            places: 0.0,
            seconds: 0.0,
        }
    }
}

impl Sample {
    pub(super) fn of(window: &Window) -> Self {
        let mut sample = Self::default();
        sample.add(window);
        sample
    }

    pub(super) fn add(&mut self, window: &Window) {
        self.calls += f64::from(window.succeeded);
        self.latency += window.latency_sum;
        self.least = self.least.min(window.latency_min);
        self.lost += f64::from(window.gave_up);
        self.places += window.mean_inflight * window.seconds();
        self.seconds += window.seconds();
    }

    /// Lets what was added so far count less.
    pub(super) fn fade(&mut self, factor: f64) {
        self.calls *= factor;
        self.latency *= factor;
        self.lost *= factor;
        self.places *= factor;
        self.seconds *= factor;
    }

    /// Mean latency in seconds.
    pub(super) fn mean(&self) -> f64 {
        self.latency / self.calls.max(1e-9)
    }

    /// Seconds spent at the origin per call answered, by all that were there: what the mean latency
    /// will be, long calls that are not answered yet included.
    pub(super) fn spent(&self) -> f64 {
        self.places / self.calls.max(1e-9)
    }

    /// Part of the callers that left.
    pub(super) fn lost(&self) -> f64 {
        self.lost / (self.calls + self.lost).max(1e-9)
    }

    /// Calls answered a second, counted.
    pub(super) fn rate(&self) -> f64 {
        self.calls / self.seconds.max(1e-9)
    }

    /// Places taken on average.
    pub(super) fn inflight(&self) -> f64 {
        self.places / self.seconds.max(1e-9)
    }

    /// Throughput by Little's law, in-flight over latency.
    ///
    /// Counting would be off by up to one whole round where service is so even that calls end in
    /// clumps; latencies do not care where the window was cut.
    pub(super) fn throughput(&self) -> f64 {
        self.inflight() / self.mean().max(1e-9)
    }
}
