//! The business: its objects, its rules, and the ports it needs. Knows neither transport nor
//! database, and so can be tested, and thought about, without them.

pub mod notes;
