//! Lists in sorted sets, loaded lazily: timelines, comments, rankings.
#![cfg_attr(not(test), expect(dead_code, reason = "its first users are being written"))]

mod ask;
mod index;
mod known;
mod position;
#[cfg(test)]
mod tests;
#[cfg(feature = "redis")]
mod wire;

pub use position::{MAX_SCORE, NoScore, Order, Score};
