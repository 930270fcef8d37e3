//! Another configuration for a gateway that runs.
//!
//! Everything that can fail is tried before anything is changed, so a configuration that does not
//! hold is refused whole. What keeps its name keeps what it has learned and counted; connections
//! of either side stay open, unless their upstream is gone or has moved.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use seawall::config::{Config, Listener};

use crate::plan::Plan;
use crate::server::{Opened, Order, Running, StartError};
use crate::setup;
use crate::site::Listening;
use crate::tls::Acceptor;

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

/// What a configuration changes of the listeners.
#[derive(Default)]
struct Moves<'c> {
    staying: Vec<Arc<Listening>>,
    /// Of those, the ones with another name or other settings.
    changed: Vec<(Arc<Listening>, &'c str, &'c Listener, Option<Acceptor>)>,
    opened: Vec<Opened>,
    gone: Vec<Arc<Listening>>,
}

impl Running {
    /// Takes another configuration over, as a whole or not at all. Nothing is dropped for it:
    /// requests under way end as they began, open connections go on, and what an upstream, route or
    /// lane of the same name has learned and counted is kept. Listeners may come, go and change.
    ///
    /// Blocks for as long as it takes to bind what listeners there are to bind, and to find the hosts
    /// of upstreams that are new or have moved: for a second at most.
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
        if before.config.cache != config.cache {
            return Err(ReloadError::Restart("cache.size"));
        }
        let moves = self.moves(config, &before)?;
        let plan = setup::plan(config, Some(&before), &self.ground)?;
        plan.await_hosts(Some(&before));
        // From here on nothing can fail.
        let retired = plan.take_over(&before, self.shared.clock.now());
        self.shared.retired.lock().extend(retired);
        self.install(plan);
        self.carry_out(moves);
        Ok(())
    }

    /// Binds what listeners there are to bind.
    fn moves<'c>(&self, config: &'c Config, before: &Plan) -> Result<Moves<'c>, ReloadError> {
        let listening = self.shared.listening.load_full();
        let mut moves = Moves::default();
        for (name, new) in &config.listeners {
            let acceptor = || {
                let made = self.ground.certificates.acceptor(name, new);
                made.map_err(StartError::from)
            };
            let Some(same) = listening.iter().find(|old| old.is_at(name, new.address)) else {
                let opened = Opened::new(name, new, acceptor()?, self.cores.len())?;
                moves.opened.push(opened);
                continue;
            };
            let old_name = same.name();
            let old = before.config.listeners.get(&*old_name);
            if *old_name != **name || old != Some(new) {
                let tls = if old.is_some_and(|old| old.tls == new.tls) {
                    same.site().tls.clone()
                } else {
                    acceptor()?
                };
                moves.changed.push((same.clone(), name, new, tls));
            }
            moves.staying.push(same.clone());
        }
        let stays = |old: &&Arc<Listening>| moves.staying.iter().any(|at| Arc::ptr_eq(at, old));
        let gone = listening.iter().filter(|old| !stays(old)).cloned();
        moves.gone = gone.collect();
        Ok(moves)
    }

    fn carry_out(&self, moves: Moves<'_>) {
        for (same, name, listener, tls) in moves.changed {
            same.change(name, listener, tls);
        }
        for gone in &moves.gone {
            for driven in &self.cores {
                let _ = driven.orders.send(Order::Close(gone.clone()));
            }
        }
        let opened = moves.opened.iter().map(|opened| opened.listening.clone());
        let all = moves.staying.into_iter().chain(opened).collect();
        self.shared.listening.store(all);
        for opened in moves.opened {
            self.listen(opened);
        }
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
