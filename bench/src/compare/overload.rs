//! `overload`: what must be shown when more arrives than can be served.

use super::change::{Burst, Carried, Fall, Loss};
use super::cross::{Criticalities, Crowd, Crowded};
use super::goodput::Goodput;
use super::rounds::compare;
use super::simulated::{self, Simulated};
use super::{OverloadArgs, Scenario, Shape};
use crate::origin::Distribution;

/// Runs the comparison.
///
/// # Errors
/// Says which part could not be started.
pub fn overload(args: &OverloadArgs) -> anyhow::Result<()> {
    let scenarios = match &args.origin {
        None => standard(),
        Some(shape) if shape.rate() > simulated::ABOVE => Simulated::all(shape),
        Some(shape) => other(shape),
    };
    compare("overload", &args.compare, scenarios)
}

/// The origin of 20 slots × 20 ms.
fn standard() -> Vec<Box<dyn Scenario>> {
    let mut scenarios: Vec<Box<dyn Scenario>> = Vec::new();
    for spread in [
        Distribution::Fixed,
        Distribution::Exponential,
        Distribution::Bimodal,
    ] {
        for multiple in [2.0, 5.0, 10.0] {
            let shape = Shape::spread(spread);
            scenarios.push(Box::new(Goodput { shape, multiple }));
        }
    }
    let shape = Shape::spread(Distribution::Exponential);
    for loss in [Loss::Slots, Loss::Speed] {
        let shape = shape.clone();
        scenarios.push(Box::new(Fall { shape, loss }));
    }
    scenarios.push(Box::new(Burst {
        shape: shape.clone(),
    }));
    scenarios.push(Box::new(Carried {
        shape: shape.clone(),
    }));
    scenarios.push(Box::new(Criticalities { shape }));
    for crowd in [Crowd::SlowRoute, Crowd::GiantUploads] {
        scenarios.push(Box::new(Crowded::new(crowd)));
    }
    scenarios
}

/// What must hold for an origin of any shape.
fn other(shape: &Shape) -> Vec<Box<dyn Scenario>> {
    let mut scenarios: Vec<Box<dyn Scenario>> = Vec::new();
    for multiple in [2.0, 5.0, 10.0] {
        let shape = shape.clone();
        scenarios.push(Box::new(Goodput { shape, multiple }));
    }
    let (burst, carried) = (shape.clone(), shape.clone());
    scenarios.push(Box::new(Burst { shape: burst }));
    scenarios.push(Box::new(Carried { shape: carried }));
    scenarios
}
