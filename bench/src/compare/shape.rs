//! The shape of an origin, and the times that follow from it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::load::Wire;
use crate::origin::{self, Distribution, Gone};

/// An origin of N slots and a service time.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// Places.
    pub slots: usize,
    /// Mean service time.
    pub service: Duration,
    /// Spread of the service times.
    pub distribution: Distribution,
    /// Protocol on both sides of the proxy.
    pub wire: Wire,
    /// How far it slows as it fills; see [`origin::Config::slows`].
    pub slows: f64,
}

impl Default for Shape {
    /// 20 slots × 20 ms over HTTP/1.1.
    fn default() -> Self {
        Self {
            slots: 20,
            service: Duration::from_millis(20),
            distribution: Distribution::Fixed,
            wire: Wire::H1,
            slows: 0.0,
        }
    }
}

impl Shape {
    /// The default shape with this spread.
    #[must_use]
    pub fn spread(distribution: Distribution) -> Self {
        Self {
            distribution,
            ..Self::default()
        }
    }

    /// How long a client waits: 250 ms, or 12.5 service times where that is more.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(250).max(self.service.mul_f64(12.5))
    }

    /// What "a second" means here, in seconds: 25 service times where that is more.
    #[must_use]
    pub fn second(&self) -> f64 {
        (25.0 * self.service.as_secs_f64()).max(1.0)
    }

    /// The earliest that a call begun at 0 can be complete.
    #[must_use]
    pub fn first_completion(&self) -> Duration {
        self.service.mul_f64(self.distribution.quantile(0.0))
    }

    /// Requests a second by the arithmetic of slots and service time, all slots in use.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.slots as f64 / (self.service.as_secs_f64() * (1.0 + self.slows))
    }

    /// The origin. It works on for callers that have gone, as a pool of threads does: that is what
    /// makes overload a collapse.
    #[must_use]
    pub fn origin(&self, seed: u64) -> origin::Config {
        origin::Config {
            slots: self.slots,
            service: self.service,
            distribution: self.distribution,
            slows: self.slows,
            gone: Gone::Work,
            seed,
            ..origin::Config::default()
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spread = match self.distribution {
            Distribution::Fixed => "fixed",
            Distribution::Exponential => "exponential",
            Distribution::Bimodal => "bimodal",
        };
        let ms = self.service.as_secs_f64() * 1000.0;
        write!(out, "{}x{ms}ms {spread}", self.slots)?;
        match self.wire {
            Wire::H1 => {}
            Wire::H2 => write!(out, " h2")?,
            Wire::Grpc => write!(out, " grpc")?,
        }
        if self.slows > 0.0 {
            write!(out, " slows {}", self.slows)?;
        }
        Ok(())
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut shape = Self::default();
        for pair in text.split(',') {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| format!("`{pair}` is not KEY=VALUE"))?;
            let wrong = |what: &str| format!("`{pair}`: {what}");
            match key {
                "slots" => {
                    let slots = value
                        .parse()
                        .ok()
                        .filter(|slots| (1..=100_000).contains(slots));
                    shape.slots = slots.ok_or_else(|| wrong("1 to 100,000"))?;
                }
                "ms" => {
                    let ms = value
                        .parse()
                        .ok()
                        .filter(|ms| (0.01..=60_000.0).contains(ms));
                    let ms: f64 = ms.ok_or_else(|| wrong("0.01 to 60,000 milliseconds"))?;
                    shape.service = Duration::from_secs_f64(ms / 1000.0);
                }
                "dist" => {
                    shape.distribution = clap::ValueEnum::from_str(value, true)
                        .map_err(|_| wrong("fixed, exponential or bimodal"))?;
                }
                "proto" => {
                    shape.wire = clap::ValueEnum::from_str(value, true)
                        .map_err(|_| wrong("h1, h2 or grpc"))?;
                }
                "slows" => {
                    let slows = value
                        .parse()
                        .ok()
                        .filter(|slows| (0.0..=100.0).contains(slows));
                    shape.slows = slows.ok_or_else(|| wrong("0 to 100"))?;
                }
                _ => return Err(wrong("the keys are slots, ms, dist, proto and slows")),
            }
        }
        Ok(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_reads_back() {
        let shape: Shape = "slots=2,ms=2000,dist=exponential,proto=h2"
            .parse()
            .expect("valid");
        assert_eq!(shape.to_string(), "2x2000ms exponential h2");
        assert_eq!(shape.timeout(), Duration::from_secs(25));
        assert!((shape.second() - 50.0).abs() < 1e-9);
        assert!((shape.rate() - 1.0).abs() < 1e-9);
        assert_eq!(shape.first_completion(), Duration::ZERO);
    }

    #[test]
    fn nonsense_is_refused() {
        for wrong in [
            "slots=0",
            "ms=-1",
            "ms=nan",
            "dist=x",
            "proto=spdy",
            "slots",
            "x=1",
            "",
        ] {
            assert!(wrong.parse::<Shape>().is_err(), "{wrong}");
        }
    }
}
