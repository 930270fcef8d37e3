//! The list of hosts, and the choice among them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::choice::Choice;
use super::dice::{Dice, mix};
use super::fleet::{Fleet, SWEEP};
use super::host::{Host, HostSnapshot, HostSpec, Load};
use super::outlier::HostState;
use super::ring::Ring;
use super::round_robin::RoundRobin;
use super::sampler::Sampler;
use super::zone::Zone;
use super::{Algorithm, BalanceSettings, p2c, ring, sweep};
use crate::Tick;

/// The highest latencies of equals differ by a fifth, and the less a host is asked the lower its
/// highest.
const MARGIN: f32 = 0.8;

/// What a call asks for.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// What hosts are chosen by in consistent hashing; `None` where the call has nothing of the
    /// kind.
    pub hash: Option<u64>,
    /// The keys of the hosts that earlier attempts of this call went to.
    pub tried: &'a [u64],
    /// Where the caller is; 0 where nothing is said.
    pub zone: u16,
    /// The call may be what an ejected host is probed with: say no for one that cannot be retried,
    /// or that matters most. It is then used only where a probe has been due for as long as the
    /// longest wait between two, since nobody else seems to come. Only first attempts are ever used.
    pub may_probe: bool,
    /// Not to a host in doubt while there is another: one that failed of late, or was taken back
    /// just now. For calls that matter most; if all calls said so, nobody would find out.
    pub careful: bool,
}

impl Default for Ask<'_> {
    fn default() -> Self {
        Self {
            hash: None,
            tried: &[],
            zone: 0,
            may_probe: true,
            careful: false,
        }
    }
}

/// A host's place in the list.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) host: Arc<Host>,
    /// 1 / weight, where the mean weight is 1.
    pub(super) inverse: f32,
    pub(super) zone: u16,
}

/// An immutable list of hosts that are shared, and what an algorithm prepares for it.
///
/// Its driver keeps it in a `Snapshot`, beside its own array of endpoints in the same order, and
/// replaces it by [`Hosts::updated`] when discovery says so. A pick takes no lock and allocates
/// nothing.
///
/// - Only hosts of the list are picked, and only such with a weight.
/// - No host that this call tried, while an untried one serves.
/// - If every host that serves has been tried, the best of those again: whether to try again at all
///   is for the retry policy to say.
/// - If none serves (the cap on ejections sees to it that this takes an update), the best of all.
/// - `None` only from an empty list.
///
/// ```
/// use std::time::Duration;
/// use seawall_policy::balance::{Ask, BalanceSettings, HostSpec, Hosts};
/// use seawall_policy::{Outcome, Tick};
///
/// let specs = [HostSpec::new(0xA), HostSpec::new(0xB)];
/// let hosts = Hosts::new(BalanceSettings::default(), &specs, Tick::ZERO);
/// let random = 42; // the driver draws one for each call
///
/// let choice = hosts.pick(&Ask::default(), Tick::ZERO, random).expect("there are hosts");
/// assert_eq!(hosts.host(choice.at()).unwrap().in_flight(), 1);
/// let tried = [choice.key()];
/// let now = Tick::from_millis(20);
/// choice.finish(Outcome::Failure, Duration::from_millis(20), None, now);
///
/// let again = hosts.pick(&Ask { tried: &tried, ..Ask::default() }, now, random);
/// assert_ne!(again.expect("there are hosts").key(), tried[0]);
/// ```
#[derive(Debug)]
pub struct Hosts {
    fleet: Arc<Fleet>,
    seats: Box<[Seat]>,
    sampler: Sampler,
    round_robin: RoundRobin,
    ring: Option<Ring>,
    zones: Box<[Zone]>,
}

impl Hosts {
    /// A first list. All its hosts begin with a full share: there is nobody to be slower than.
    #[must_use]
    pub fn new(settings: BalanceSettings, specs: &[HostSpec], now: Tick) -> Self {
        Self::of(Arc::new(Fleet::new(settings, now)), specs, None, now)
    }

    /// The list after a discovery update, in the order of `specs`.
    ///
    /// A host whose key is known keeps its latency, failures, ejection and calls under way; weight
    /// and zone may change. A new one is taken for a typical host and starts slowly, unless no
    /// known one is left. Calls at hosts that are gone finish without effect. O(hosts).
    #[must_use]
    pub fn updated(&self, specs: &[HostSpec], now: Tick) -> Self {
        Self::of(Arc::clone(&self.fleet), specs, Some(self), now)
    }

    fn of(fleet: Arc<Fleet>, specs: &[HostSpec], before: Option<&Self>, now: Tick) -> Self {
        let known: HashMap<u64, &Arc<Host>> = before
            .into_iter()
            .flat_map(|hosts| &hosts.seats)
            .map(|seat| (seat.host.key(), &seat.host))
            .collect();
        let joins_others = specs.iter().any(|spec| known.contains_key(&spec.key));
        let warm = if joins_others {
            fleet.settings.slow_start
        } else {
            Duration::ZERO
        };
        let mut new: HashMap<u64, Arc<Host>> = HashMap::new();
        let weights = weights(specs);
        let seats: Box<[Seat]> = specs
            .iter()
            .zip(&weights)
            .map(|(spec, &weight)| {
                let join = || Arc::new(Host::new(spec.key, &fleet, warm, now));
                let host = match known.get(&spec.key) {
                    Some(host) => host,
                    None => &*new.entry(spec.key).or_insert_with(join),
                };
                Seat {
                    host: Arc::clone(host),
                    zone: spec.zone,
                    inverse: if weight > 0.0 {
                        weight.recip() as f32
                    } else {
                        1.0
                    },
                }
            })
            .collect();
        let mut members: Vec<(u32, f64)> = (0_u32..)
            .zip(weights)
            .filter(|&(_, weight)| weight > 0.0)
            .collect();
        let key = |at: u32| seats[at as usize].host.key();
        if let Some(subset) = &fleet.settings.subset {
            subset.keep(&mut members, |(at, _)| key(at));
        }
        let ring = (fleet.settings.algorithm == Algorithm::ConsistentHash)
            .then(|| Ring::new(members.iter().map(|&(at, weight)| (key(at), at, weight))));
        let zones = Zone::of_all(&members, |at| seats[at as usize].zone);
        fleet.set_cap(members.len());
        let turn = before.map_or(now.0 as u32, |hosts| hosts.round_robin.next());
        let hosts = Self {
            round_robin: RoundRobin::new(&members, turn),
            sampler: Sampler::new(members),
            ring,
            zones,
            seats,
            fleet,
        };
        hosts.seat_all(before);
        hosts
    }

    /// Tells each host where it sits, and what knows hosts by their seats that they have changed.
    fn seat_all(&self, before: Option<&Self>) {
        let old: &[Seat] = before.map_or(&[], |hosts| &hosts.seats);
        for seat in old {
            seat.host.set_seat(None);
        }
        // Those that may be picked: what is not has no place that a report could lead to.
        for &at in self.sampler.members() {
            let at = at as usize;
            self.seats[at].host.set_seat(Some(at));
        }
        for zone in &self.zones {
            zone.inherit(before.map_or(&[], |hosts| &hosts.zones));
        }
        if let Some(pool) = &self.fleet.pool {
            pool.reseat(|at| old.get(at).and_then(|seat| seat.host.seat()));
        }
    }

    /// How many places the list has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// There is no host.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// The host at a place of the list.
    #[must_use]
    pub fn host(&self, at: usize) -> Option<&Arc<Host>> {
        self.seats.get(at).map(|seat| &seat.host)
    }

    /// A typical host's latency; that of the default settings while nothing is known.
    #[must_use]
    pub fn typical_latency(&self) -> Duration {
        self.fleet.typical_latency()
    }

    /// What is known of each host, in order.
    pub fn snapshot(&self, now: Tick) -> impl Iterator<Item = HostSnapshot> {
        self.seats.iter().map(move |seat| seat.host.snapshot(now))
    }

    /// Chooses a host for a call that is sent at `now`. `random` is drawn by the caller, any 64
    /// bits, new for each call.
    ///
    /// With its finish about 33 ns on one thread and 73 ns on two that share ten hosts (peak EWMA; see
    /// the example `balance_cost`). Ten times a second the call that comes by looks all hosts over:
    /// O(hosts).
    #[inline]
    #[must_use]
    pub fn pick(&self, ask: &Ask<'_>, now: Tick, random: u64) -> Option<Choice> {
        let mut dice = Dice::new(random);
        if self.fleet.event(now)
            && let Some((at, probe)) = self.look_over(ask, now)
        {
            return Some(Choice::new(&self.seats[at].host, at, probe, now));
        }
        let at = self.choose(ask, now, &mut dice)?;
        Some(Choice::new(&self.seats[at].host, at, false, now))
    }

    #[inline]
    fn choose(&self, ask: &Ask<'_>, now: Tick, dice: &mut Dice) -> Option<usize> {
        if ask.zone != 0
            && let Some(zone) = self.zones.iter().find(|zone| zone.zone == ask.zone)
        {
            let own = zone.keeps(dice.roll());
            let sampler = if own { &zone.sampler } else { &self.sampler };
            let within = |at: usize| (self.seats[at].zone == ask.zone) == own;
            let found = self.choose_among(sampler, within, ask, now, dice);
            if found.is_some() {
                return found;
            }
        }
        self.choose_among(&self.sampler, |_| true, ask, now, dice)
            .or_else(|| self.best_of_all(ask, now, dice))
    }

    #[inline]
    fn choose_among(
        &self,
        sampler: &Sampler,
        within: impl Fn(usize) -> bool,
        ask: &Ask<'_>,
        now: Tick,
        dice: &mut Dice,
    ) -> Option<usize> {
        if ask.careful {
            let sure = |at: usize| within(at) && !self.seats[at].host.is_in_doubt(now);
            let ask = Ask {
                careful: false,
                ..*ask
            };
            let found =
                self.choose_among(sampler, &sure as &dyn Fn(usize) -> bool, &ask, now, dice);
            if found.is_some() {
                return found;
            }
        }
        let usable = |at: usize, dice: &mut Dice| self.usable(at, ask, now, dice) && within(at);
        let by_latency = |at: usize| self.load(at, true, now);
        let by_in_flight = |at: usize| self.load(at, false, now);
        match (self.fleet.settings.algorithm, ask.hash) {
            (Algorithm::PeakEwma, _) => p2c::pick(sampler, dice, MARGIN, usable, by_latency),
            (Algorithm::RoundRobin, _) => self.round_robin.pick(|at| usable(at, dice)),
            (Algorithm::ConsistentHash, Some(hash)) => self.by_hash(hash, within, ask, now),
            (Algorithm::LeastRequest | Algorithm::ConsistentHash, _) => {
                p2c::pick(sampler, dice, 1.0, usable, by_in_flight)
            }
            (Algorithm::Prequal, _) => {
                let pool = self.fleet.pool.as_ref();
                let sound = |at| usable(at, dice) && self.is_sound(at, now, dice);
                let reported = pool.and_then(|pool| pool.pick(now, sound));
                reported.or_else(|| p2c::pick(sampler, dice, MARGIN, usable, by_latency))
            }
        }
    }

    /// By chance, as often as it does not fail.
    fn is_sound(&self, at: usize, now: Tick, dice: &mut Dice) -> bool {
        let failing = self.seats[at].host.failing(now);
        failing == 0.0 || dice.unit() >= f64::from(2.0 * failing)
    }

    /// The first on the ring with room. A host that warms up has the keys that its share gives it,
    /// the same ones for each call.
    fn by_hash(
        &self,
        hash: u64,
        within: impl Fn(usize) -> bool,
        ask: &Ask<'_>,
        now: Tick,
    ) -> Option<usize> {
        let members = self.sampler.members().len();
        let serving = members.saturating_sub(self.fleet.ejected() as usize);
        let total = self.fleet.total();
        let factor = self.fleet.settings.hash_bound as f32;
        let usable = |at: usize| {
            let seat = &self.seats[at];
            let mut coin = Dice::new(mix(hash ^ seat.host.key()));
            let bound = ring::bound(factor, total, serving, seat.inverse);
            let room = ((seat.host.in_flight() + 1) as f32) <= bound;
            room && within(at) && self.usable(at, ask, now, &mut coin)
        };
        self.ring.as_ref()?.pick(hash, usable)
    }

    #[inline]
    fn load(&self, at: usize, by_latency: bool, now: Tick) -> f32 {
        let seat = &self.seats[at];
        seat.host.load(by_latency, seat.inverse, now)
    }

    /// Not tried, and serving, or warming and its share says so.
    #[inline]
    fn usable(&self, at: usize, ask: &Ask<'_>, now: Tick, dice: &mut Dice) -> bool {
        let Some(seat) = self.seats.get(at) else {
            return false;
        };
        let host = &seat.host;
        let untried = ask.tried.is_empty() || !ask.tried.contains(&host.key());
        untried && (host.is_serving() || host.share(now) > dice.unit())
    }

    /// The host that a probe shall be sent to, if one is due; ask again until it is `None`, after
    /// each pick. Only where hosts are chosen by what they report ([`Algorithm::Prequal`]).
    #[must_use]
    pub fn probe_wanted(&self, now: Tick, random: u64) -> Option<usize> {
        let pool = self.fleet.pool.as_ref()?;
        let mut dice = Dice::new(random);
        let ask = Ask::default();
        if !pool.take_probe() {
            return None;
        }
        // One that is ejected has probes of its own.
        (0..4).find_map(|_| {
            let at = self.sampler.pair(dice.roll()).0;
            self.usable(at, &ask, now, &mut dice).then_some(at)
        })
    }

    /// What the host at `at` answered to a probe.
    pub fn probe_result(&self, at: usize, load: Load, now: Tick) {
        if let (Some(pool), Some(seat)) = (&self.fleet.pool, self.seats.get(at))
            && let Some(at) = seat.host.seat()
        {
            pool.insert(at, load, now);
        }
    }

    /// The share of the calls from `zone` that stay in it; all where it has no hosts of its own or
    /// there are no others.
    #[must_use]
    pub fn stays_in_zone(&self, zone: u16) -> f64 {
        let zone = self.zones.iter().find(|own| own.zone == zone);
        zone.map_or(1.0, Zone::stays)
    }

    /// Who could not be drawn is looked for: untried before tried, serving before ejected, then the
    /// least load.
    #[cold]
    fn best_of_all(&self, ask: &Ask<'_>, now: Tick, dice: &mut Dice) -> Option<usize> {
        let members = self.sampler.members();
        let skip = (dice.unit() * members.len() as f64) as usize;
        let rank = |&at: &u32| {
            let host = &self.seats[at as usize].host;
            let out = matches!(host.state().0, HostState::Ejected | HostState::Probing);
            let tried = ask.tried.contains(&host.key());
            let load = self.load(at as usize, self.fleet.settings.algorithm.by_latency(), now);
            (out, tried, host.is_full(), load)
        };
        // From a random place on: of equals the first is taken, and not always the same.
        let turned = members.iter().cycle().skip(skip).take(members.len());
        turned
            .map(|at| (rank(at), *at))
            .min_by(|(a, _), (b, _)| {
                let kind = (a.0, a.1, a.2).cmp(&(b.0, b.1, b.2));
                kind.then(a.3.total_cmp(&b.3))
            })
            .map(|(_, at)| at as usize)
    }

    /// The look-over that is due; the host that this call shall go to, if one is to be looked at,
    /// and whether that is a probe.
    #[cold]
    fn look_over(&self, ask: &Ask<'_>, now: Tick) -> Option<(usize, bool)> {
        let members = self.sampler.members();
        let due = sweep::run(&self.seats, members, &self.fleet, now);
        if let Some(zone) = self.zones.iter().find(|zone| zone.zone == ask.zone) {
            zone.review(&self.seats, members, now);
        }
        let may = ask.may_probe && ask.tried.is_empty();
        let patience = if ask.may_probe {
            Duration::ZERO
        } else {
            self.fleet.settings.outlier.probe_every
        };
        let mine = due.filter(|_| ask.tried.is_empty()).and_then(|_| {
            let mut members = members.iter().map(|&at| at as usize);
            members.find(|&at| self.seats[at].host.take_probe(now, patience))
        });
        if let Some(due) = due {
            // Soon again for the next one that is due, or for a call that may.
            self.fleet.remind(due.max(now + SWEEP / 100));
        }
        mine.map(|at| (at, true)).or_else(|| {
            let at = self.forgotten(now).filter(|_| may)?;
            self.fleet.take_look(now).then_some((at, false))
        })
    }

    /// A host that serves but is avoided for a latency of some time ago. Nothing but a call tells
    /// whether it is still slow: what is known fades, but within minutes.
    fn forgotten(&self, now: Tick) -> Option<usize> {
        if self.fleet.settings.algorithm != Algorithm::PeakEwma {
            return None;
        }
        let mut members = self.sampler.members().iter().map(|&at| at as usize);
        members.find(|&at| {
            let host = &self.seats[at].host;
            host.is_serving() && host.is_forgotten(now)
        })
    }
}

/// Weights with a mean of 1 over those that have any; all alike where none has.
fn weights(specs: &[HostSpec]) -> Vec<f64> {
    let with = specs.iter().filter(|spec| spec.weight > 0).count();
    if with == 0 {
        return vec![1.0; specs.len()];
    }
    let total: f64 = specs.iter().map(|spec| f64::from(spec.weight)).sum();
    let mean = total / with as f64;
    let of = |spec: &HostSpec| f64::from(spec.weight) / mean;
    specs.iter().map(of).collect()
}
