//! Which host a call goes to.
//!
//! [`Hosts`] is a list of hosts that are shared by all threads. [`Hosts::pick`] chooses one for an
//! attempt and counts it as in flight there, [`Choice::finish`] says how it went. A pick locks and
//! allocates nothing; with its finish it writes one cache line of the host (and the count of its
//! references), and reads two others.
//!
//! Why like this:
//!
//! - *Two drawn at random, the better one taken*, by latency × calls under way, as Finagle has it. In
//!   turn, a host that hangs goes on getting its share; "the best of all" sends every client to the
//!   same host at once.
//! - *What is under way counts before it ends.* A host that hangs ends no call until the time limit.
//!   Its calls in flight pile up, and their mean age says after one typical latency that it is slow:
//!   of eleven hosts at 1,000 calls/s the one that hangs gets 21 calls more where the others take
//!   170 ms, and 2 where they take 20 ms; by the count alone it is 31 and 8.
//! - *A failure is weight, not latency.* A fast 500 as a sample of 1 ms would attract all traffic; as
//!   a sample of ten typical latencies, one failure in a hundred hides what the latencies are. So the
//!   share of calls that failed of late is kept apart, and weighs in loads of a typical host. A
//!   refusal for overload is no latency either and counts in the same way, but weighs a quarter: it
//!   costs its caller next to nothing, and while all are overloaded the one that refuses most is the
//!   one that was sent most. Weighed alike, the refusals of a host that serves as fast as it can
//!   send the rest to one where they end by their time limit.
//! - *Typical is the median*, found ten times a second by a call that comes by, so there is neither a
//!   timer nor a count that every call shares.
//! - *A host's breaker is its ejection*: out after failures in a row, or far more than the others
//!   have; back by probes, at least one every half second (see [`OutlierSettings`]). What fails too
//!   much to be chosen but too seldom to be ejected is set aside too, once it has stood idle: probes
//!   find out sooner than the fading of its weight. The cap keeps half of the hosts in (of three, one) whatever
//!   happens, and if none is left (after an update), the best of all is picked: a call that may fail
//!   beats one that must.
//! - *Hosts outlive lists.* A discovery update makes a new list of the same hosts, and a new host
//!   starts as a typical one with a tenth of its share: unknown is neither bad (starved) nor free
//!   (stampeded).
//!
//! | algorithm | compares | for |
//! |---|---|---|
//! | [`PeakEwma`](Algorithm::PeakEwma) | latency × in flight | the default |
//! | [`LeastRequest`](Algorithm::LeastRequest) | in flight | streams, answers of very different size |
//! | [`RoundRobin`](Algorithm::RoundRobin) | nothing | hosts that are alike |
//! | [`ConsistentHash`](Algorithm::ConsistentHash) | a hash of the call, in flight | hosts that cache |
//! | [`Prequal`](Algorithm::Prequal) | what hosts report | many clients that share many hosts |
//!
//! Weights, slow start, ejection, subsets and zones hold for each of them.

mod choice;
mod dice;
mod fleet;
mod flight;
mod host;
mod hosts;
mod outlier;
mod p2c;
mod peak_ewma;
mod prequal;
mod probe;
mod ring;
mod round_robin;
mod sampler;
mod settings;
mod slow_start;
mod subset;
mod sweep;
mod zone;

pub use choice::Choice;
pub use host::{Host, HostSnapshot, HostSpec, Load};
pub use hosts::{Ask, Hosts};
pub use outlier::HostState;
pub use prequal::PrequalSettings;
pub use settings::{Algorithm, BalanceSettings, OutlierSettings};
pub use subset::Subset;
