//! What stands in when the origin fails: another answer, or a gutter.
//!
//! A [`Gutter`] is for a main pool that fails as a whole: a small pool takes the calls, as many as
//! it can bear, until the main one answers again. [`Fallbacks`] are for a call that has failed for
//! good, retries and all: what to answer instead of the error.

mod answer;
mod gutter;
#[cfg(test)]
mod gutter_tests;

pub use answer::{AtHand, Failed, Fallback, Fallbacks};
pub use gutter::{Gutter, GutterSettings, Pass, Stage, Way};
