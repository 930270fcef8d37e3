//! What every policy knows of a request, and how the request ended.

use crate::Tick;

/// How much a call matters, highest first, as defined by Google's SRE book.
///
/// The default for calls that say nothing is [`Criticality::Critical`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Criticality {
    /// Users notice at once and badly; provision for all of it.
    CriticalPlus = 0,
    /// Users notice. The default.
    #[default]
    Critical = 1,
    /// Partial unavailability is expected; batch work that retries within minutes.
    SheddablePlus = 2,
    /// Frequent unavailability is expected.
    Sheddable = 3,
}

impl Criticality {
    /// Every criticality, highest first; an array index is `self as usize`.
    pub const ALL: [Self; 4] = [
        Self::CriticalPlus,
        Self::Critical,
        Self::SheddablePlus,
        Self::Sheddable,
    ];

    /// The name used in headers, metrics and configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CriticalPlus => "critical-plus",
            Self::Critical => "critical",
            Self::SheddablePlus => "sheddable-plus",
            Self::Sheddable => "sheddable",
        }
    }

    /// Reads a name as [`Criticality::as_str`] writes it, in any case.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|c| c.as_str().eq_ignore_ascii_case(name))
    }
}

/// The context that travels with a request and that every policy reads.
///
/// `Copy` and without allocation: names (of a tenant, say) stay with the transport, a policy only
/// sees their hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// When the caller stops waiting; [`Tick::MAX`] where nothing was said.
    pub deadline: Tick,
    /// How much it matters.
    pub criticality: Criticality,
    /// A hash of who asks; 0 where nobody is named, and the call is then spread over all cohorts.
    pub tenant: u64,
    /// Work in units; 1 for an ordinary call.
    pub cost: u32,
    /// 0 for the first try, counted up by retries.
    pub attempt: u8,
    /// Safe to send twice.
    pub idempotent: bool,
    /// Part of a task that has already been paid for elsewhere (verified, never merely claimed).
    pub under_way: bool,
}

impl Default for Call {
    fn default() -> Self {
        Self {
            deadline: Tick::MAX,
            criticality: Criticality::default(),
            tenant: 0,
            cost: 1,
            attempt: 0,
            idempotent: false,
            under_way: false,
        }
    }
}

/// How an admitted call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// Answered. A 4xx is the caller's mistake and a success of the origin.
    Success = 0,
    /// 5xx other than 503, reset, time limit.
    Failure = 1,
    /// The origin says that it is overloaded: 429, 503, RESOURCE_EXHAUSTED, UNAVAILABLE.
    Overloaded = 2,
    /// Cancelled by the caller, or not a measure of the origin: frees the place, is no sample.
    Ignored = 3,
}
