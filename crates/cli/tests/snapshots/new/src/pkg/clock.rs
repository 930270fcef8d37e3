//! The time, as something that is handed in: a test has its own.

use std::time::SystemTime;

/// Tells the time: `SystemTime::now`, but in tests.
pub type Clock = fn() -> SystemTime;
