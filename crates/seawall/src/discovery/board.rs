//! From targets and answers to a list of endpoints.
//!
//! Answers for IPv4 and IPv6 are taken in together: a family that has failed keeps what it had, and
//! one that has no records loses its addresses only while the other has some ("no such name" for one
//! alone counts as no records). A name without any address is a failure, not a list of none.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use seawall_policy::Tick;

use super::answer::{DnsError, RecordKind, Reply, Told};
use super::endpoint::{Endpoint, host_key, mix};
use super::known::Known;
use super::target::{Host, Target};

/// What bounds a board.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) grace: Duration,
    /// The most endpoints of a name or of an SRV record's targets together.
    pub(super) most: usize,
    /// Which ones.
    pub(super) subset: u64,
}

/// All that is known of one source.
#[derive(Debug)]
pub(super) struct Board {
    rules: Rules,
    targets: Vec<Target>,
    services: Services,
    names: BTreeMap<Arc<str>, Name>,
}

#[derive(Debug, Default)]
struct Services {
    serial: u64,
    /// By target and port; priority and weight.
    known: Known<(Arc<str>, u16), (u16, u16)>,
    /// Targets came by SRV, and the bound is for all of them.
    asked: bool,
}

#[derive(Debug, Default)]
struct Name {
    families: BTreeMap<RecordKind, Family>,
}

#[derive(Debug, Default)]
struct Family {
    serial: u64,
    known: Known<IpAddr, ()>,
}

/// What an answer has brought.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Taken {
    /// There were records.
    pub(super) good: bool,
    /// What is wrong, and with which question.
    pub(super) error: Option<(RecordKind, DnsError)>,
}

impl Board {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            targets: Vec::new(),
            services: Services::default(),
            names: BTreeMap::new(),
        }
    }

    /// The targets from now on. Names that stay keep what is known of them.
    pub(super) fn set_targets(&mut self, targets: Vec<Target>) {
        let names: BTreeSet<&Arc<str>> = targets
            .iter()
            .filter_map(|target| match &target.host {
                Host::Name(name) => Some(name),
                Host::Ip(_) => None,
            })
            .collect();
        self.names.retain(|name, _| names.contains(name));
        for name in names {
            self.names.entry(name.clone()).or_default();
        }
        self.targets = targets;
    }

    /// The names whose addresses are wanted.
    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.names.keys()
    }

    /// Takes in what was told of the SRV records.
    pub(super) fn services(&mut self, told: &Told, now: Tick) -> Taken {
        self.services.asked = true;
        let offered = |reply: &Reply| reply.services().next().is_some();
        let (reply, taken) = match &told.reply {
            Ok(reply) if offered(reply) => (Some(reply), Taken::good()),
            Ok(_) => (None, Taken::bad(RecordKind::Srv, DnsError::NoService)),
            Err(error) => (None, Taken::bad(RecordKind::Srv, error.clone())),
        };
        let news = told.serial != self.services.serial;
        self.services.serial = told.serial;
        let reply = match reply {
            Some(reply) => Some(reply).filter(|_| news),
            None if self.services.known.is_empty() => {
                told.good.as_ref().filter(|good| offered(good))
            }
            None => None,
        };
        let Some(reply) = reply else {
            return taken;
        };
        let entries = reply.services().map(|service| {
            let key = (service.target.clone(), service.port);
            (key, (service.priority, service.weight))
        });
        let Rules {
            grace,
            most,
            subset,
        } = self.rules;
        self.services.known.answer(entries, now, grace);
        self.services.known.limit(most, |(target, port)| {
            let text = target
                .bytes()
                .fold(subset, |hash, byte| mix(hash ^ u64::from(byte)));
            mix(text ^ u64::from(*port))
        });
        let targets = self.services.targets();
        self.set_targets(targets);
        taken
    }

    /// Takes in what was told of a name's addresses, of all families at once.
    pub(super) fn addresses(
        &mut self,
        name: &str,
        told: &[(RecordKind, Told)],
        now: Tick,
    ) -> Taken {
        let Rules {
            grace,
            most,
            subset,
        } = self.rules;
        let Some(name) = self.names.get_mut(name) else {
            return Taken::default();
        };
        let has = |reply: &Reply| reply.addresses().next().is_some();
        let good = told
            .iter()
            .any(|(_, told)| told.reply.as_ref().is_ok_and(|reply| has(reply)));
        let mut error = None;
        for (kind, told) in told {
            let family = name.families.entry(*kind).or_default();
            let news = told.serial != family.serial;
            family.serial = told.serial;
            let ips: Option<Vec<IpAddr>> = match &told.reply {
                Ok(reply) if good => news.then(|| reply.addresses().collect()),
                // With search domains, the last name that was tried for this family.
                Err(DnsError::NoSuchName) if good => news.then(Vec::new),
                failed => {
                    let why = failed.as_ref().err().cloned();
                    error = error.or(why.map(|why| (*kind, why)));
                    let good = told.good.as_ref().filter(|_| family.known.is_empty());
                    good.map(|good| good.addresses().collect())
                }
            };
            if let Some(ips) = ips {
                let entries = ips.into_iter().map(|ip| (ip, ()));
                family.known.answer(entries, now, grace);
                family.known.limit(most, |ip| mix(host_key(*ip) ^ subset));
            }
        }
        if let (None, false, Some((kind, _))) = (&error, good, told.first()) {
            error = Some((*kind, DnsError::NoAddress));
        }
        Taken { good, error }
    }

    /// Every endpoint, by priority and then by address, each address once: of two that share one,
    /// the one of the lower priority, then of the greater weight.
    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        let mut list = Vec::new();
        for target in &self.targets {
            match &target.host {
                Host::Ip(ip) => list.push(endpoint(target, *ip)),
                Host::Name(name) => {
                    let families = self.names.get(name).into_iter();
                    let known = families.flat_map(|name| name.families.values());
                    let ips = known.flat_map(|family| family.known.iter());
                    list.extend(ips.map(|(ip, ())| endpoint(target, *ip)));
                }
            }
        }
        let order = |e: &Endpoint| (e.priority, e.address, u32::MAX - e.weight, e.host.clone());
        list.sort_by_cached_key(order);
        let mut seen = BTreeSet::new();
        list.retain(|endpoint| seen.insert(endpoint.address));
        if self.services.asked && list.len() > self.rules.most {
            let rank = |e: &Endpoint| (e.priority, mix(e.key() ^ self.rules.subset));
            list.sort_by_cached_key(rank);
            list.truncate(self.rules.most);
            list.sort_by_cached_key(order);
        }
        list
    }
}

impl Taken {
    const fn good() -> Self {
        Self {
            good: true,
            error: None,
        }
    }

    const fn bad(kind: RecordKind, error: DnsError) -> Self {
        Self {
            good: false,
            error: Some((kind, error)),
        }
    }
}

impl Services {
    fn targets(&self) -> Vec<Target> {
        let known = self.known.iter();
        let target = |((name, port), (priority, weight)): (&(Arc<str>, u16), &(u16, u16))| Target {
            weight: u32::from(*weight).max(1),
            priority: *priority,
            ..Target::new(Host::Name(name.clone()), *port)
        };
        known.map(target).collect()
    }
}

fn endpoint(target: &Target, ip: IpAddr) -> Endpoint {
    let host = match (&target.name, &target.host) {
        (Some(name), _) | (None, Host::Name(name)) => Some(without_dot(name)),
        (None, Host::Ip(_)) => None,
    };
    Endpoint {
        address: SocketAddr::new(ip, target.port),
        weight: target.weight,
        priority: target.priority,
        zone: target.zone.clone(),
        host,
    }
}

/// Neither a `Host` header nor SNI has the root's dot.
fn without_dot(name: &Arc<str>) -> Arc<str> {
    match name.strip_suffix('.') {
        Some(name) => name.into(),
        None => name.clone(),
    }
}

#[cfg(test)]
mod tests;
