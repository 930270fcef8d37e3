//! Leases: one loader a key in the fleet, and nothing stale left behind.

mod entry;

pub(crate) use entry::Entry;
