//! Who has written lately, and so has to read where the writes went.
//!
//! A table of times by a hash of the client. Two clients that share a place both count as writers
//! while either is one: that costs a read of the primary now and then, and never shows anybody an
//! older state than their own write.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, header};
use seawall::clock::Clock;
use seawall_policy::Tick;

/// 64 KiB: of a thousand clients that wrote in the last seconds, an eighth of the others count as
/// writers by chance.
const PLACES: usize = 8_192;

/// A write under way. When it has ended, or nobody waits for it any longer, its client has written:
/// what it reads before that need not show it.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) writers: Arc<Writers>,
    pub(crate) place: usize,
    pub(crate) remembered: Duration,
    pub(crate) clock: Clock,
    /// Nothing was written.
    pub(crate) refused: bool,
}

impl Write {
    /// It is answered, with this status. Whoever is refused has not written: strangers could have
    /// everybody read from the primary otherwise.
    pub(crate) fn answered(mut self, status: StatusCode) {
        self.refused = status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT;
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        if !self.refused {
            let now = self.clock.now();
            self.writers.wrote(self.place, now, self.remembered);
        }
    }
}

/// The clients that wrote lately.
#[derive(Debug)]
pub(crate) struct Writers {
    /// Until when, in nanoseconds.
    until: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Default for Writers {
    fn default() -> Self {
        Self {
            until: (0..PLACES).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl Writers {
    /// A client's place: by its tenant, what it is authorised by, or its address.
    pub(crate) fn place(&self, tenant: u64, headers: &HeaderMap, ip: IpAddr) -> usize {
        let hash = if tenant != 0 {
            self.hasher.hash_one(tenant)
        } else if let Some(value) = headers.get(header::AUTHORIZATION) {
            self.hasher.hash_one(value.as_bytes())
        } else {
            self.hasher.hash_one(ip)
        };
        hash as usize % PLACES
    }

    /// It has written.
    fn wrote(&self, place: usize, now: Tick, remembered: Duration) {
        self.until[place].fetch_max((now + remembered).0, Relaxed);
    }

    pub(crate) fn has_written(&self, place: usize, now: Tick) -> bool {
        self.until[place].load(Relaxed) > now.0
    }
}

/// Whether a method only reads.
pub(crate) fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_writer_is_one_for_the_stated_time() {
        let writers = Writers::default();
        let of = |auth: &'static str, ip: [u8; 4]| {
            let value = HeaderValue::from_static(auth);
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
            writers.place(0, &headers, ip.into())
        };
        let one = of("one", [10, 0, 0, 1]);
        assert_eq!(one, of("one", [10, 0, 0, 2]), "wherever it comes from");
        let at = Tick::from_millis;
        writers.wrote(one, at(1_000), Duration::from_secs(2));
        assert!(writers.has_written(one, at(2_999)));
        assert!(!writers.has_written(one, at(3_000)));
        writers.wrote(one, at(2_500), Duration::ZERO);
        assert!(
            writers.has_written(one, at(2_999)),
            "no write shortens another's time"
        );
    }

    #[test]
    fn who_is_refused_has_not_written() {
        let writers = Arc::new(Writers::default());
        let clock = Clock::manual();
        let write = |place| Write {
            writers: writers.clone(),
            place,
            remembered: Duration::from_secs(2),
            clock: clock.clone(),
            refused: false,
        };
        let (done, refused, left, slow) = (write(1), write(2), write(3), write(4));
        clock.advance(Duration::from_secs(60));
        done.answered(StatusCode::OK);
        refused.answered(StatusCode::UNAUTHORIZED);
        drop(left);
        slow.answered(StatusCode::REQUEST_TIMEOUT);
        let now = clock.now();
        let written = [1, 2, 3, 4].map(|place| writers.has_written(place, now));
        assert_eq!(written, [true, false, true, true]);
    }
}
