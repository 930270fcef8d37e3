//! What the program says of itself: alive, ready.
//!
//! *Alive* means that the process answers: nothing else, or a slow database would have every replica
//! restarted. *Ready* means the phase, and that what is called is up is no part of it: replicas that
//! share a dependency would all leave at once. It is false before the program has started, and again
//! from the moment it begins to leave, before anything else happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};

use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use super::lifecycle::Phase;

/// Clones tell of the same program.
#[derive(Clone)]
pub(super) struct Health {
    phase: Arc<AtomicU8>,
    reporter: HealthReporter,
    /// The services that `grpc.health.v1` tells of; `""` is the program.
    services: Arc<[&'static str]>,
}

const PHASES: [Phase; 4] = [
    Phase::Starting,
    Phase::Serving,
    Phase::Leaving,
    Phase::Draining,
];

impl Health {
    pub(super) async fn new(services: impl Iterator<Item = &'static str>) -> Self {
        let health = Self {
            phase: Arc::default(),
            reporter: HealthReporter::new(),
            services: std::iter::once("").chain(services).collect(),
        };
        health.tell(Phase::Starting).await;
        health
    }

    pub(super) fn phase(&self) -> Phase {
        PHASES[usize::from(self.phase.load(SeqCst)).min(3)]
    }

    /// It has begun to leave.
    pub(super) fn is_going(&self) -> bool {
        matches!(self.phase(), Phase::Leaving | Phase::Draining)
    }

    pub(super) async fn tell(&self, phase: Phase) {
        self.phase.store(phase as u8, SeqCst);
        let status = match phase {
            Phase::Serving => ServingStatus::Serving,
            Phase::Starting | Phase::Leaving | Phase::Draining => ServingStatus::NotServing,
        };
        for service in &*self.services {
            if phase == Phase::Draining {
                // Ends the streams of those who watch it, which the drain would wait for.
                self.reporter.clone().clear_service_status(service).await;
            } else {
                self.reporter.set_service_status(service, status).await;
            }
        }
    }

    pub(super) fn grpc(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }
}
