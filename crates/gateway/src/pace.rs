//! How slow a client may be, in either direction and over either protocol.
//!
//! A limit on silence alone is evaded by one byte at a time, and a limit on the whole would cut an
//! honest client on a bad line in the middle of a large file. So a client owes a least rate,
//! `min_rate`, and only while we wait for it: for the next piece of its upload, or for room to
//! write on. Time that the service takes is not counted, and who keeps up for a moment starts
//! afresh, so that what is judged is a window of waiting as long as the limit on silence itself. A
//! client that is silent throughout has moved nothing in it; one rule covers both.
//!
//! The streams of an HTTP/2 connection share a line, and what they owe: otherwise a page with
//! twenty pictures would need a line twenty times as fast as a file.

use std::time::Duration;

use seawall_policy::Tick;

/// What is known of a client's pace in one direction.
#[derive(Debug)]
pub(crate) struct Pace {
    /// So much waiting is judged at once.
    window: Duration,
    /// Bytes a second.
    rate: u64,
    /// What is to move in it, at least.
    owed: u64,
    /// Of the present window: what has moved, and how long it was waited for.
    moved: u64,
    waited: Duration,
    /// When the wait that lasts began.
    since: Option<Tick>,
}

impl Pace {
    /// A client that owes `rate` bytes a second over `window` of waiting. With a rate of 0 any
    /// byte in a window will do.
    pub(crate) fn new(window: Duration, rate: u64) -> Self {
        Self {
            window,
            rate,
            owed: owed(window, rate),
            moved: 0,
            waited: Duration::ZERO,
            since: None,
        }
    }

    /// Leaves the client the share of one stream among so many. To be told when a wait begins.
    pub(crate) fn share(&mut self, streams: u32) {
        self.owed = owed(self.window, self.rate / u64::from(streams.max(1)));
    }

    /// A wait for the client begins. Returns when it will have been too slow, if nothing moves.
    pub(crate) fn wait(&mut self, now: Tick) -> Tick {
        self.since = Some(now);
        now + self.window.saturating_sub(self.waited)
    }

    /// Something has moved, and a wait ends, if there was one.
    pub(crate) fn moved(&mut self, bytes: u64, now: impl FnOnce() -> Tick) {
        self.moved = self.moved.saturating_add(bytes);
        let since = self.since.take();
        if self.moved >= self.owed {
            (self.moved, self.waited) = (0, Duration::ZERO);
        } else if let Some(since) = since {
            self.waited += now().since(since);
        }
    }
}

fn owed(window: Duration, rate: u64) -> u64 {
    ((window.as_secs_f64() * rate as f64) as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WINDOW: Duration = Duration::from_secs(30);

    /// When a client that moves `bytes` after each wait of `pause` is cut, within 10,000 of them.
    fn cut(pace: &mut Pace, bytes: u64, pause: Duration) -> Option<Duration> {
        let mut now = Tick::ZERO;
        for _ in 0..10_000 {
            let due = pace.wait(now);
            if due <= now + pause {
                return Some(due.since(Tick::ZERO));
            }
            now = now + pause;
            pace.moved(bytes, || now);
        }
        None
    }

    #[test]
    fn a_trickle_is_cut_and_a_slow_download_is_not() {
        let second = Duration::from_secs(1);
        for (rate, bytes, pause, after) in [
            (1024, 0, second, Some(WINDOW)),
            (1024, 1, 3 * second, Some(WINDOW)),
            (1024, 1000, second, Some(WINDOW)),
            (1024, 1100, second, None),
            // In lumps, as a socket's buffer makes of it.
            (1024, 29 * 1024, 28 * second, Some(WINDOW)),
            (1024, 30 * 1024, 29 * second, None),
            (0, 1, 29 * second, None),
            (0, 1, 30 * second, Some(WINDOW)),
        ] {
            let got = cut(&mut Pace::new(WINDOW, rate), bytes, pause);
            assert_eq!(got, after, "{bytes} bytes after {pause:?} at {rate}/s");
        }
    }

    #[test]
    fn streams_share_what_a_connection_owes() {
        let second = Duration::from_secs(1);
        let mut pace = Pace::new(WINDOW, 1024);
        pace.share(20);
        assert_eq!(cut(&mut pace, 60, second), None);
        pace.share(10);
        assert!(cut(&mut pace, 60, second).is_some());
    }

    proptest! {
        #[test]
        fn nobody_is_cut_above_the_rate_or_let_on_below_it(
            rate in 1_u64..1 << 20,
            window in 10_u64..100_000,
            pauses in 2_u32..50,
        ) {
            let window = Duration::from_millis(window);
            // One pause less than the window holds: a client is not judged in the middle of one.
            let fair = owed(window, rate).div_ceil(u64::from(pauses) - 1);
            let pause = window / pauses;
            prop_assert_eq!(cut(&mut Pace::new(window, rate), fair, pause), None);
            let little = (owed(window, rate) - 1) / u64::from(pauses);
            prop_assert!(cut(&mut Pace::new(window, rate), little, pause).is_some());
        }
    }
}
