//! Who may go to the origin, who waits, who is turned away.
//!
//! A [`Gate`] stands in front of one origin. An arrival passes three questions, cheapest first:
//! is its time already up, is it below the admission level ([`level`](self)), is there a place under the
//! limit. Only when every place is taken does it touch the lock, to wait in a short queue; a
//! finished call hands its place to whoever waits. Below saturation a call therefore pays a
//! handful of uncontended additions, and nothing is ever shed.
//!
//! Three parts share the work, because each is good at what the others are not:
//! * the **limit** keeps the origin busy without letting calls queue inside it, where nobody can
//!   reorder them;
//! * the **queue** absorbs the noise of arrivals (a bare limit equal to the slots of an origin at
//!   80 % load turns 8 % away needlessly) and decides who is served first while backed up;
//! * the **level** turns the excess away on arrival, consistently for the same user, so that the
//!   queue stays short and a task of several calls succeeds or fails as a whole.
//!
//! The gate is passive. It says whom to wake; the driver (`seawall::admission`) owns wakers, the
//! clock and the thread that calls [`Gate::tick`].

mod change;
mod core;
mod gate;
mod lane;
mod level;
mod places;
#[cfg(test)]
mod places_tests;
mod queue;
mod shed;
mod snapshot;
mod tally;

pub use change::GateChange;
pub use gate::{Admit, Gate, GateSettings, Ticket, Waiter, Wakes};
pub use lane::{Key, Lane, LaneSettings};
pub use snapshot::{GateSnapshot, LaneSnapshot};
pub use tally::Totals;
