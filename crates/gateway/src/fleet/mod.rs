//! The hosts behind an upstream, and which of them a call goes to.
//!
//! The choice is [`Hosts`]'s; here is what it is made among: an endpoint with connections of its
//! own for each host, in a list that discovery and health checks replace while calls are under way.

mod follow;
mod health;
mod set;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use seawall::config::Upstream;
use seawall::discovery;
use seawall::sync::Snapshot;
use seawall_policy::Tick;
use seawall_policy::balance::{
    Ask, BalanceSettings, Choice, HostSnapshot, HostSpec, Hosts, Load, OutlierSettings, Subset,
};

use crate::address::Address;
use crate::pool::{Pool, PoolState};
use crate::tls::Connector;

pub(crate) use follow::{Control, Follow};
pub(crate) use set::{Ground, HostSet};

/// The hosts of one upstream, or of its replicas or reserve. Lives on through reloads.
#[derive(Debug)]
pub(crate) struct Fleet {
    list: Snapshot<List>,
    /// What the list is made of. Held while it is made anew.
    making: Mutex<Making>,
    /// What finds its hosts: that of the newest configuration, however long requests of an older one
    /// last.
    follow: Mutex<Option<Follow>>,
    cores: usize,
}

/// Hosts, and their endpoints in the same order.
#[derive(Debug)]
struct List {
    hosts: Hosts,
    endpoints: Box<[Arc<Endpoint>]>,
}

/// One host.
#[derive(Debug)]
pub(crate) struct Endpoint {
    key: u64,
    /// Its address, as metrics and explanations call it.
    pub(crate) name: String,
    pub(crate) pool: Arc<Pool>,
}

#[derive(Debug)]
struct Making {
    upstream: Upstream,
    tls: Option<Connector>,
    /// What each source has found, by its number.
    found: BTreeMap<usize, Arc<[discovery::Endpoint]>>,
    unhealthy: BTreeSet<u64>,
    /// Pools that nobody comes to any more, not yet handed over.
    retired: Vec<Arc<Pool>>,
}

/// A host that was picked; it counts as in flight until the choice is finished.
#[derive(Debug)]
pub(crate) struct Picked {
    pub(crate) choice: Choice,
    pub(crate) endpoint: Arc<Endpoint>,
}

impl Fleet {
    /// The one host that the upstream's URL names, until others are found.
    pub(crate) fn new(
        upstream: &Upstream,
        tls: Option<&Connector>,
        sources: usize,
        cores: usize,
        now: Tick,
    ) -> Self {
        let one = (sources == 0).then(|| {
            let name = upstream.url.authority().map_or("", |name| name.as_str());
            Arc::new(Endpoint {
                key: 0,
                name: name.to_owned(),
                pool: Pool::new(upstream, Address::of(upstream), cores, tls),
            })
        });
        let specs: Vec<_> = one.iter().map(|one| HostSpec::new(one.key)).collect();
        Self {
            list: Snapshot::new(List {
                hosts: Hosts::new(settings(upstream), &specs, now),
                endpoints: one.into_iter().collect(),
            }),
            making: Mutex::new(Making {
                upstream: upstream.clone(),
                tls: tls.cloned(),
                found: BTreeMap::new(),
                unhealthy: BTreeSet::new(),
                retired: Vec::new(),
            }),
            follow: Mutex::default(),
            cores,
        }
    }

    /// A host for a call; `None` where there is none at all.
    pub(crate) fn pick(&self, ask: &Ask<'_>, now: Tick, random: u64) -> Option<Picked> {
        let list = self.list.load();
        let choice = list.hosts.pick(ask, now, random)?;
        let endpoint = list.endpoints.get(choice.at())?.clone();
        Some(Picked { choice, endpoint })
    }

    /// A host that is to be asked for its load, if one is due.
    pub(crate) fn probe_wanted(&self, now: Tick, random: u64) -> Option<Arc<Endpoint>> {
        let list = self.list.load();
        let at = list.hosts.probe_wanted(now, random)?;
        list.endpoints.get(at).cloned()
    }

    /// What it said.
    pub(crate) fn probed(&self, endpoint: &Endpoint, load: Load, now: Tick) {
        let list = self.list.load();
        // The list may have changed meanwhile.
        let at = list.endpoints.iter().position(|e| e.key == endpoint.key);
        if let Some(at) = at {
            list.hosts.probe_result(at, load, now);
        }
    }

    /// What a call usually takes.
    pub(crate) fn typical_latency(&self) -> Duration {
        self.list.load().hosts.typical_latency()
    }

    /// Who tells it of its hosts from now on. Who did so before ends.
    pub(crate) fn follow(&self, follow: Follow) {
        *self.follow.lock() = Some(follow);
    }

    /// How many hosts it has.
    pub(crate) fn len(&self) -> usize {
        self.list.load().endpoints.len()
    }

    /// What the upstream's URL calls it.
    fn authority(&self) -> String {
        let making = self.making.lock();
        let authority = making.upstream.url.authority();
        authority.map_or_else(String::new, ToString::to_string)
    }

    pub(crate) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.list.load().endpoints.to_vec()
    }

    /// What is known of each host, with its name.
    pub(crate) fn snapshot(&self, now: Tick) -> Vec<(Arc<Endpoint>, HostSnapshot, bool)> {
        let list = self.list.load_full();
        let making = self.making.lock();
        let known = list.hosts.snapshot(now).zip(&list.endpoints);
        known
            .map(|(host, endpoint)| {
                let healthy = !making.unhealthy.contains(&endpoint.key);
                (endpoint.clone(), host, healthy)
            })
            .collect()
    }

    /// A source's hosts have changed.
    pub(crate) fn found(&self, source: usize, hosts: Arc<[discovery::Endpoint]>, now: Tick) {
        let mut making = self.making.lock();
        making.found.insert(source, hosts);
        self.remake(&mut making, now);
    }

    /// A health check has changed its mind.
    pub(crate) fn judged(&self, key: u64, healthy: bool, now: Tick) {
        let mut making = self.making.lock();
        // It may have gone while it was asked.
        if !self.list.load().endpoints.iter().any(|e| e.key == key) {
            return;
        }
        let changed = if healthy {
            making.unhealthy.remove(&key)
        } else {
            making.unhealthy.insert(key)
        };
        if changed {
            self.remake(&mut making, now);
        }
    }

    /// Other settings, and so many sources: connections and what is known of the hosts stay, unless
    /// the balance itself has changed.
    pub(crate) fn configure(
        &self,
        upstream: &Upstream,
        tls: Option<&Connector>,
        sources: usize,
        now: Tick,
    ) {
        let mut making = self.making.lock();
        let before = std::mem::replace(&mut making.upstream, upstream.clone());
        making.tls = tls.cloned();
        if upstream.health.path.is_none() && !making.unhealthy.is_empty() {
            making.unhealthy.clear();
            self.remake(&mut making, now);
        }
        let known = making.found.len();
        making.found.retain(|number, _| *number < sources);
        if making.found.len() < known {
            self.remake(&mut making, now);
        }
        let list = self.list.load_full();
        for endpoint in &list.endpoints {
            endpoint.pool.configure(upstream, tls);
        }
        if settings(&before) != settings(upstream) {
            let specs = self.specs(&making, &list.endpoints);
            self.list.store(List {
                hosts: Hosts::new(settings(upstream), &specs, now),
                endpoints: list.endpoints.clone(),
            });
        }
    }

    /// Nobody comes here any more.
    pub(crate) fn retire(&self) -> Vec<Arc<Pool>> {
        drop(self.follow.lock().take());
        let pools = self.list.load_full();
        let pools: Vec<_> = pools.endpoints.iter().map(|e| e.pool.clone()).collect();
        for pool in &pools {
            pool.retire();
        }
        pools.into_iter().chain(self.take_retired()).collect()
    }

    /// Closes what one core has kept idle for longer than it may.
    pub(crate) fn prune(&self, core: usize, now: Tick) {
        for endpoint in &self.list.load().endpoints {
            endpoint.pool.prune(core, now);
        }
    }

    /// Closes every idle connection of one core.
    pub(crate) fn close_idle(&self, core: usize) {
        for endpoint in &self.list.load().endpoints {
            endpoint.pool.close_idle(core);
        }
    }

    /// How full its pools are, together.
    pub(crate) fn connections(&self) -> PoolState {
        let list = self.list.load();
        let states = list.endpoints.iter().map(|endpoint| endpoint.pool.state());
        states.fold(PoolState::default(), |sum, state| PoolState {
            open: sum.open + state.open,
            idle: sum.idle + state.idle,
            waiting: sum.waiting + state.waiting,
            cap: sum.cap + state.cap,
        })
    }

    /// Pools of hosts that are gone: whoever closes idle connections closes theirs.
    pub(crate) fn take_retired(&self) -> Vec<Arc<Pool>> {
        std::mem::take(&mut self.making.lock().retired)
    }

    fn remake(&self, making: &mut Making, now: Tick) {
        let before = self.list.load_full();
        let endpoints = self.made(making, &before);
        let stay: HashSet<u64> = endpoints.iter().map(|endpoint| endpoint.key).collect();
        for gone in before
            .endpoints
            .iter()
            .filter(|old| !stay.contains(&old.key))
        {
            gone.pool.retire();
            making.retired.push(gone.pool.clone());
            making.unhealthy.remove(&gone.key);
        }
        let specs = self.specs(making, &endpoints);
        self.list.store(List {
            hosts: before.hosts.updated(&specs, now),
            endpoints,
        });
    }

    /// The endpoints for what was found, those that were there with their pools.
    fn made(&self, making: &Making, before: &List) -> Box<[Arc<Endpoint>]> {
        if making.found.is_empty() {
            // The one of the URL.
            return before.endpoints.clone();
        }
        let known: HashMap<u64, _> = before.endpoints.iter().map(|old| (old.key, old)).collect();
        let mut keys = HashSet::new();
        let new = in_use(&making.found).filter(|host| keys.insert(host.key()));
        let made = new.map(|host| {
            let key = host.key();
            known.get(&key).map_or_else(
                || {
                    let address = Address::at(host.address);
                    let tls = making.tls.as_ref();
                    Arc::new(Endpoint {
                        key,
                        name: host.address.to_string(),
                        pool: Pool::new(&making.upstream, address, self.cores, tls),
                    })
                },
                |known| Arc::clone(known),
            )
        });
        made.collect()
    }

    fn specs(&self, making: &Making, endpoints: &[Arc<Endpoint>]) -> Vec<HostSpec> {
        let mut found = HashMap::new();
        for host in in_use(&making.found) {
            found.entry(host.key()).or_insert(host);
        }
        let spec = |endpoint: &Arc<Endpoint>| {
            let host = found.get(&endpoint.key);
            let healthy = !making.unhealthy.contains(&endpoint.key);
            HostSpec {
                key: endpoint.key,
                weight: host.map_or(1, |host| host.weight) * u32::from(healthy),
                zone: host.map_or(0, |host| zone(host.zone.as_deref())),
            }
        };
        endpoints.iter().map(spec).collect()
    }
}

/// Of every source those of the first priority.
fn in_use(
    found: &BTreeMap<usize, Arc<[discovery::Endpoint]>>,
) -> impl Iterator<Item = &discovery::Endpoint> {
    let first = |list: &'_ Arc<[discovery::Endpoint]>| {
        discovery::Endpoint::groups(list)
            .next()
            .map_or(0, <[_]>::len)
    };
    found.values().flat_map(move |list| &list[..first(list)])
}

/// A zone's number: alike for the same name, 0 for none.
pub(crate) fn zone(name: Option<&str>) -> u16 {
    let Some(name) = name else { return 0 };
    // FNV-1a: there are a handful of them.
    let hash = name.bytes().fold(0x811C_9DC5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    ((hash >> 16) as u16 ^ hash as u16).max(1)
}

/// Who we are, as subsets are drawn: the same after a restart.
fn client() -> u64 {
    discovery::Settings::default().subset
}

fn settings(upstream: &Upstream) -> BalanceSettings {
    let balance = &upstream.balance;
    BalanceSettings {
        algorithm: balance.algorithm,
        slow_start: balance.slow_start,
        subset: balance.subset.map(|size| Subset {
            client: client(),
            size: size as usize,
        }),
        outlier: OutlierSettings {
            consecutive: upstream.ejection.consecutive_failures,
            max_share: upstream.ejection.max_share,
            ..OutlierSettings::default()
        },
        ..BalanceSettings::default()
    }
}
