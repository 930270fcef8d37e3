//! When requests are due: one Poisson process a class, each with rates that step over time.

use std::time::Duration;

use fastrand::Rng;

use super::{Class, Step};

/// Due times in order, the same for the same seed.
#[derive(Debug)]
pub struct Arrivals {
    streams: Vec<Stream>,
}

#[derive(Debug)]
struct Stream {
    steps: Vec<Step>,
    step: usize,
    /// Seconds from the start at which the current step ends.
    step_end: f64,
    /// Seconds from the start; `None` after the last.
    next: Option<f64>,
    rng: Rng,
}

impl Arrivals {
    /// The arrivals of `classes`.
    #[must_use]
    pub fn new(classes: &[Class], seed: u64) -> Self {
        let mut seeds = Rng::with_seed(seed);
        let streams = classes
            .iter()
            .map(|class| Stream::new(class.steps.clone(), seeds.fork()))
            .collect();
        Self { streams }
    }

    /// The next due time from the start and the class's index, without taking it.
    #[must_use]
    pub fn peek(&self) -> Option<(Duration, usize)> {
        self.streams
            .iter()
            .enumerate()
            .filter_map(|(class, stream)| Some((stream.next?, class)))
            .min_by(|left, right| left.0.total_cmp(&right.0))
            .map(|(due, class)| (Duration::from_secs_f64(due), class))
    }

    /// Takes what [`Arrivals::peek`] shows.
    pub fn take(&mut self) -> Option<(Duration, usize)> {
        let taken = self.peek()?;
        let stream = self.streams.get_mut(taken.1)?;
        stream.next = stream.draw();
        Some(taken)
    }
}

impl Stream {
    fn new(steps: Vec<Step>, rng: Rng) -> Self {
        let step_end = steps.first().map_or(0.0, |step| step.lasts.as_secs_f64());
        let mut stream = Self {
            steps,
            step: 0,
            step_end,
            next: Some(0.0),
            rng,
        };
        stream.next = stream.draw();
        stream
    }

    /// An exponential gap has no memory, so at a step's edge the rest is drawn anew.
    fn draw(&mut self) -> Option<f64> {
        let mut from = self.next?;
        while let Some(step) = self.steps.get(self.step) {
            if step.rate > 0.0 {
                let gap = -(1.0 - self.rng.f64()).ln() / step.rate;
                if from + gap < self.step_end {
                    return Some(from + gap);
                }
            }
            from = self.step_end;
            self.step += 1;
            self.step_end += self
                .steps
                .get(self.step)
                .map_or(0.0, |step| step.lasts.as_secs_f64());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(classes: &[Class], seed: u64) -> Vec<(Duration, usize)> {
        let mut arrivals = Arrivals::new(classes, seed);
        std::iter::from_fn(|| arrivals.take()).collect()
    }

    #[test]
    fn rates_follow_the_steps() {
        let steps = vec![
            Step::new(500.0, 10.0),
            Step::new(0.0, 1.0),
            Step::new(5_000.0, 10.0),
        ];
        let due = all(&[Class::new("a", steps)], 3);
        let within = |from: f64, to: f64| {
            due.iter()
                .filter(|(at, _)| (from..to).contains(&at.as_secs_f64()))
                .count() as f64
        };
        assert!((within(0.0, 10.0) - 5_000.0).abs() < 300.0);
        assert!(within(10.0, 11.0) < 0.5);
        assert!((within(11.0, 21.0) - 50_000.0).abs() < 1_000.0);
    }

    #[test]
    fn gaps_are_exponential() {
        let due = all(&[Class::new("a", vec![Step::new(1_000.0, 50.0)])], 4);
        let gaps: Vec<f64> = due
            .windows(2)
            .map(|pair| (pair[1].0 - pair[0].0).as_secs_f64() * 1_000.0)
            .collect();
        let variance = gaps.iter().map(|gap| (gap - 1.0).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((variance - 1.0).abs() < 0.06, "{variance}");
    }

    #[test]
    fn one_seed_one_sequence_in_order() {
        let classes = [
            Class::new("a", vec![Step::new(300.0, 3.0)]),
            Class::new("b", vec![Step::new(700.0, 3.0)]),
        ];
        let due = all(&classes, 5);
        assert_eq!(due, all(&classes, 5));
        assert_ne!(due, all(&classes, 6));
        assert!(due.is_sorted_by_key(|(at, _)| *at));
        assert!(due.iter().any(|(_, class)| *class == 0));
    }
}
