//! Another configuration for a gateway that runs.
//!
//! Everything that can fail is tried before anything is changed, so a configuration that does not
//! hold is refused whole. What keeps its name keeps what it has learned and counted; connections
//! of either side stay open, unless their upstream is gone or has moved.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use seawall::config::Config;

use crate::plan::Plan;
use crate::server::{Opened, Order, Running, StartError};
use crate::setup;
use crate::site::Listening;

/// How many plans' names are remembered, for rejections that were made under them.
const REMEMBERED: usize = 8;

/// Why a configuration was not taken over. The one before it stays in force, whole.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// A gateway would not start with it either.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A setting that cannot change while the gateway runs.
    #[error("`{0}` cannot change while the gateway runs: restart it")]
    Restart(&'static str),
}

impl Running {
    /// Takes another configuration over, as a whole or not at all. Nothing is dropped for it:
    /// requests under way end as they began, open connections go on, and what an upstream, route or
    /// lane of the same name has learned and counted is kept. Listeners may come, go and change.
    ///
    /// Blocks for as long as it takes to bind what listeners there are to bind.
    ///
    /// # Errors
    /// Whatever [`Gateway::start`](crate::Gateway::start) would say of it, or a setting that only a
    /// restart can change. Then nothing has changed.
    pub fn reload(&self, config: &Config) -> Result<(), ReloadError> {
        let _alone = self.reloading.lock();
        let reloaded = self.replace(config);
        let reloads = &self.shared.reloads;
        let count = if reloaded.is_ok() {
            &reloads.done
        } else {
            &reloads.refused
        };
        count.fetch_add(1, Relaxed);
        reloaded
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        self.shared.plan.load().config.clone()
    }

    /// Counts a configuration that was refused before it came here: it could not be read.
    pub fn refused(&self) {
        self.shared.reloads.refused.fetch_add(1, Relaxed);
    }

    fn replace(&self, config: &Config) -> Result<(), ReloadError> {
        let before = self.shared.plan.load_full();
        if before.config.admin.address != config.admin.address {
            return Err(ReloadError::Restart("admin.address"));
        }
        if before.config.discovery != config.discovery {
            return Err(ReloadError::Restart("discovery.resolvers"));
        }
        let cores = self.cores.len();
        let mut opened = Vec::new();
        let listening = self.shared.listening.load_full();
        let stays = |name: &str| {
            let address = config.listeners.get(name).map(|new| new.address);
            let mut there = listening.iter();
            there.find(|old| *old.name == *name && Some(old.address) == address)
        };
        let mut changed = Vec::new();
        for (name, listener) in &config.listeners {
            let old = before.config.listeners.get(name);
            let acceptor = || self.ground.certificates.acceptor(name, listener);
            match stays(name) {
                None => {
                    let tls = acceptor().map_err(StartError::from)?;
                    opened.push(Opened::new(name, listener, tls, cores)?);
                }
                Some(_) if old == Some(listener) => {}
                Some(same) if old.is_some_and(|old| old.tls == listener.tls) => {
                    changed.push((same, listener, same.site().tls.clone()));
                }
                Some(same) => {
                    changed.push((same, listener, acceptor().map_err(StartError::from)?));
                }
            }
        }
        let plan = setup::plan(config, Some(&before), &self.ground)?;
        // From here on nothing can fail.
        let retired = plan.take_over(&before, self.shared.clock.now());
        self.shared.retired.lock().extend(retired);
        self.install(plan);
        for (same, listener, tls) in changed {
            same.change(listener, tls);
        }
        let is_gone = |old: &&Arc<Listening>| stays(&old.name).is_none();
        for gone in listening.iter().filter(is_gone) {
            for driven in &self.cores {
                let _ = driven.orders.send(Order::Close(gone.clone()));
            }
        }
        let staying = listening.iter().filter(|old| !is_gone(old)).cloned();
        let new = opened.iter().map(|opened| opened.listening.clone());
        self.shared.listening.store(staying.chain(new).collect());
        for opened in opened {
            self.listen(opened);
        }
        Ok(())
    }

    fn install(&self, plan: Plan) {
        {
            let mut names = self.shared.names.lock();
            names.push_front(plan.names());
            names.truncate(REMEMBERED);
        }
        for driven in &self.cores {
            driven.core.plan.store(plan.copy());
        }
        self.shared.plan.store(plan);
    }
}
