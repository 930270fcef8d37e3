//! Marks of work already under way: believed where they are signed, looked at only under overload.
//!
//! A mark exempts a call from being turned away for lack of room, so verifying one (a MAC, about a
//! microsecond) is of use only while a gate is short of it. An edge believes none.

use std::time::SystemTime;

use http::HeaderMap;
use seawall::config::Config;
use seawall::context::{KeyError, Ledger, UnderWayError, UnderWayKeys, names};
use seawall_policy::Call;

/// The keys, and what each task has used of its exemption.
#[derive(Debug)]
pub(crate) struct Marks {
    keys: UnderWayKeys,
    ledger: Ledger,
}

impl Marks {
    /// `None` where no key is configured: the feature is off.
    pub(crate) fn new(config: &Config) -> Result<Option<Self>, KeyError> {
        let tasks = usize::try_from(config.under_way.max_tasks).unwrap_or(usize::MAX);
        let marks = config.under_way_keys()?.map(|keys| Self {
            keys,
            ledger: Ledger::new(tasks, config.under_way.max_calls),
        });
        Ok(marks)
    }

    /// Verifies the mark and applies it to `call`, which without a good one stays as it is.
    #[cold]
    pub(crate) fn apply(&self, headers: &HeaderMap, call: &mut Call) -> Result<(), UnderWayError> {
        let Some(value) = headers.get(names::UNDER_WAY) else {
            return Ok(());
        };
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        self.keys.verify(value, &self.ledger, now)?.apply(call);
        Ok(())
    }
}
