//! How a filter is filled: what of the scan that gives the keys is bounded, and what comes of it.

use std::error::Error;
use std::pin::pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use tokio::time::Instant;

use super::size::{Fill, FilterSize};
use crate::Key;

/// How a filter is rebuilt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rebuild {
    /// The size of the new generation; `None`: that of the filter.
    pub size: Option<FilterSize>,
    /// Keys taken from the scan a second, at least 1. Default 200,000: 50 s for ten million.
    pub rate: f64,
    /// From the moment that inserts go to the new generation, too, to the scan's first key. A write
    /// that announced its key before the build began must be visible to the scan, so none may take
    /// longer than this between announcing and committing. Default 10 s, as long as a write's fence.
    pub settle: Duration,
}

impl Default for Rebuild {
    fn default() -> Self {
        Self {
            size: None,
            rate: 200_000.0,
            settle: Duration::from_secs(10),
        }
    }
}

/// What a rebuild has made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Built {
    /// Keys that the scan gave.
    pub keys: u64,
    /// How full the new generation is; [`Fill::overfull`] says whether it was made too small.
    pub fill: Fill,
    /// How long it took.
    pub took: Duration,
}

/// Why a filter was not rebuilt, or a key not added. Whatever the reason, what was built before is
/// still at work.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// Another one builds it at the moment: one build at a time, in the fleet.
    #[error("another process rebuilds this filter at the moment: wait for it")]
    UnderWay,
    /// The scan failed.
    #[error("the scan for the filter's keys failed: {0}")]
    Scan(#[source] Box<dyn Error + Send + Sync>),
    /// What was built is gone: Redis was restarted or ran out of memory, or this process stood still
    /// for so long that another one took over.
    #[error("the generation that was being built is gone: rebuild")]
    Gone,
    /// Redis failed.
    #[cfg(feature = "redis")]
    #[error("Redis failed while the filter was written: {0}")]
    Redis(#[from] crate::redis::Fault),
}

/// Keys between two looks at the clock.
const BATCH: u64 = 512;

/// Takes all keys of a scan, no more than `rate` a second; `each` takes a key's bytes. Returns how
/// many there were.
pub(super) async fn scan<K: Key, E: Into<Box<dyn Error + Send + Sync>>>(
    keys: impl Stream<Item = Result<K, E>>,
    rate: f64,
    mut each: impl FnMut(&[u8]),
) -> Result<u64, FilterError> {
    let rate = if rate >= 1.0 { rate } else { 1.0 };
    let (mut keys, mut bytes) = (pin!(keys), Vec::new());
    let (start, mut count) = (Instant::now(), 0_u64);
    while let Some(key) = keys.next().await {
        let key = key.map_err(|error| FilterError::Scan(error.into()))?;
        bytes.clear();
        key.write(&mut bytes);
        each(&bytes);
        count += 1;
        if count.is_multiple_of(BATCH) {
            let due = start + Duration::from_secs_f64((count as f64 / rate).min(1e9));
            // A timer's grain is a millisecond.
            match due.saturating_duration_since(Instant::now()) >= Duration::from_millis(1) {
                true => tokio::time::sleep_until(due).await,
                false => tokio::task::yield_now().await,
            }
        }
    }
    Ok(count)
}
