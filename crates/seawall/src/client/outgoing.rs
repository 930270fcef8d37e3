//! The call that an outgoing request is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::Request;

use crate::context::{ContextHeader, ContextHeaders, Reader, Trust};
use crate::layer::context::{Kept, Surroundings};
use crate::{Call, Tick};

/// Among a request's extensions: it may run twice, whatever its method says. For gRPC, whose
/// methods say nothing, and for a POST that carries a key of its own.
///
/// ```
/// use seawall::client::Repeatable;
///
/// let mut request = http::Request::post("/x").body(()).unwrap();
/// request.extensions_mut().insert(Repeatable);
/// // With tonic the same: `tonic::Request` has extensions, too.
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repeatable;

/// The call that an outgoing request is, among its extensions: what the layers of a client read.
///
/// Made once, by the first of them, from the [`current`](crate::layer::current) call and the
/// request. What the request's own context headers say comes first (of two time limits, the
/// shorter); whether it may run twice is for its method to say, or [`Repeatable`]; its cost is 1 unless it says
/// otherwise, since what its caller's request costs says nothing of it.
///
/// ```
/// use seawall::client::Outgoing;
/// use seawall::{Criticality, Tick};
///
/// let request = http::Request::put("/x").header("seawall-criticality", "sheddable");
/// let outgoing = Outgoing::of(&request.body(())?, Tick::ZERO);
/// assert_eq!(outgoing.call.criticality, Criticality::Sheddable);
/// assert!(outgoing.call.idempotent);
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// What the policies read.
    pub call: Call,
    /// The context headers that it has.
    pub(super) seen: ContextHeaders,
    /// What goes on from the request that it is made for.
    pub(super) kept: Option<Arc<Kept>>,
    /// The hosts that its attempts went to; none where it has but one.
    pub(super) tried: Option<Arc<Tried>>,
}

impl Outgoing {
    /// The one among the request's extensions, or else one read at `now`.
    #[must_use]
    pub fn of<B>(request: &Request<B>, now: Tick) -> Self {
        match request.extensions().get::<Self>() {
            Some(known) => known.clone(),
            None => Self::read(request, now),
        }
    }

    /// What the policies read of it, without the rest.
    pub(super) fn call_of<B>(request: &Request<B>, now: Tick) -> Call {
        match request.extensions().get::<Self>() {
            Some(known) => known.call,
            None => Self::read(request, now).call,
        }
    }

    fn read<B>(request: &Request<B>, now: Tick) -> Self {
        let reader = Reader {
            trust: Trust::Internal,
            ..Reader::default()
        };
        let read = reader.read(request.method(), request.headers(), now);
        let mut call = read.call;
        call.idempotent |= request.extensions().get::<Repeatable>().is_some();
        let surroundings = Surroundings::current();
        if let Some(above) = surroundings.as_ref().map(|s| &s.call) {
            let says = |header| read.seen.contains(header);
            call.deadline = call.deadline.min(above.deadline);
            call.under_way = above.under_way;
            if !says(ContextHeader::Criticality) {
                call.criticality = above.criticality;
            }
            if !says(ContextHeader::Tenant) {
                call.tenant = above.tenant;
            }
            if !says(ContextHeader::Attempt) {
                call.attempt = above.attempt;
            }
        }
        Self {
            call,
            seen: read.seen,
            kept: surroundings.map(|surroundings| surroundings.kept),
            tried: None,
        }
    }
}

/// The keys of the hosts that a call's attempts went to, and whether the present one is a probe of
/// an ejected host. More than it holds are forgotten.
#[derive(Debug, Default)]
pub(super) struct Tried {
    keys: [AtomicU64; Self::MOST],
    /// When the probe has failed; 0 where there was none.
    probe: AtomicU64,
}

impl Tried {
    pub(super) const MOST: usize = 8;

    /// A key of 0 marks a free place; a host of that key is merely not remembered.
    pub(super) fn add(&self, key: u64) {
        for place in &self.keys {
            let was = place.load(Relaxed);
            if was == key || was == 0 && place.compare_exchange(0, key, Relaxed, Relaxed).is_ok() {
                return;
            }
        }
    }

    pub(super) fn read(&self) -> ([u64; Self::MOST], usize) {
        let keys = std::array::from_fn(|n| self.keys[n].load(Relaxed));
        let count = keys.iter().position(|key| *key == 0);
        (keys, count.unwrap_or(Self::MOST))
    }

    /// The attempt is a probe, and has failed at `until`.
    pub(super) fn probes(&self, until: Tick) {
        self.probe.store(until.0.max(1), Relaxed);
    }

    /// The attempt has ended; whether it was a probe.
    pub(super) fn end_probe(&self) -> bool {
        self.probe().is_some() && self.probe.swap(0, Relaxed) != 0
    }

    /// When the probe has failed, where the attempt is one.
    pub(super) fn probe(&self) -> Option<Tick> {
        let until = self.probe.load(Relaxed);
        (until != 0).then_some(Tick(until))
    }

    /// No other copy of the attempt that is the probe is under way.
    pub(super) fn is_alone(&self) -> bool {
        self.keys[1].load(Relaxed) == 0
    }
}
