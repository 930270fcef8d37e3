//! Following what discovery finds, on the control thread.

use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};

use seawall::clock::Clock;
use seawall::config::{DiscoveryConfig, HealthConfig};
use seawall::discovery::{self, Discovery, Source};
use seawall::sync::CancellationToken;
use tokio::sync::mpsc;

use super::{Fleet, health};

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Has work done on the control thread, away from the cores that serve.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    work: mpsc::UnboundedSender<Work>,
    settings: discovery::Settings,
    /// One for all, so that equal names are asked for once.
    discovery: Arc<OnceLock<Discovery>>,
}

impl Control {
    /// It, and what the control thread has to run.
    pub(crate) fn new(
        config: &DiscoveryConfig,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (work, mut queue) = mpsc::unbounded_channel::<Work>();
        let run = async move {
            while let Some(work) = queue.recv().await {
                tokio::spawn(work);
            }
        };
        let settings = discovery::Settings {
            resolvers: config.resolvers.clone(),
            ..discovery::Settings::default()
        };
        let control = Self {
            work,
            settings,
            discovery: Arc::default(),
        };
        (control, run)
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        // The control thread ends last.
        let _ = self.work.send(Box::pin(work));
    }
}

/// The search for a fleet's hosts, and the questions of how they are. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Follow {
    end: CancellationToken,
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl Follow {
    pub(crate) fn start(
        control: &Control,
        clock: &Clock,
        fleet: &Arc<Fleet>,
        sources: Vec<Source>,
        checks: &HealthConfig,
    ) -> Self {
        let end = CancellationToken::new();
        for (number, source) in sources.into_iter().enumerate() {
            let (fleet, clock) = (Arc::downgrade(fleet), clock.clone());
            let (discovery, settings) = (control.discovery.clone(), control.settings.clone());
            let follow = async move {
                let discovery = discovery.get_or_init(|| Discovery::new(settings));
                follow(&fleet, number, discovery.start(source), &clock).await;
            };
            control.spawn(until(end.clone(), follow));
        }
        if let Some(path) = &checks.path {
            let (fleet, clock) = (Arc::downgrade(fleet), clock.clone());
            let checks = health::run(fleet, clock, path.clone(), checks.clone());
            control.spawn(until(end.clone(), checks));
        }
        Self { end }
    }
}

async fn until(end: CancellationToken, work: impl Future<Output = ()>) {
    end.run_until_cancelled(work).await;
}

async fn follow(
    fleet: &Weak<Fleet>,
    number: usize,
    endpoints: discovery::Endpoints,
    clock: &Clock,
) {
    let mut now = endpoints.versioned();
    loop {
        let Some(fleet) = fleet.upgrade() else { return };
        // Nothing found yet is no reason to forget what another source of this number had found.
        if !now.value.is_empty() {
            fleet.found(number, Arc::clone(&now.value), clock.now());
        }
        drop(fleet);
        now = endpoints.changed(now.version).await;
    }
}
