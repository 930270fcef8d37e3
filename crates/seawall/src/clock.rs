//! The one place where time is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use seawall_policy::Tick;

/// Where ticks come from: the system's monotonic clock, or a test that moves time.
///
/// Cheap to clone. A reading of the system clock costs about 25 ns; read it once per event and
/// pass the tick on.
#[derive(Clone, Debug)]
pub enum Clock {
    /// Time since the first clock of the process was made.
    System(Instant),
    /// Time since this clock was made, as tokio's timers have it: a test that pauses those pauses
    /// this one.
    Runtime(tokio::time::Instant),
    /// Time that stands still until [`Clock::advance`].
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The system's clock. All of them in a process share one start, so their ticks compare.
    #[must_use]
    pub fn system() -> Self {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        Self::System(*START.get_or_init(Instant::now))
    }

    /// Tokio's clock, at zero: for tests of what also waits. Its ticks compare with those of its
    /// clones alone.
    #[must_use]
    pub fn runtime() -> Self {
        Self::Runtime(tokio::time::Instant::now())
    }

    /// A clock for tests, at zero.
    #[must_use]
    pub fn manual() -> Self {
        Self::Manual(Arc::default())
    }

    /// The time now.
    #[inline]
    #[must_use]
    pub fn now(&self) -> Tick {
        match self {
            Self::System(start) => Tick(start.elapsed().as_nanos() as u64),
            Self::Runtime(start) => Tick(start.elapsed().as_nanos() as u64),
            Self::Manual(nanos) => Tick(nanos.load(SeqCst)),
        }
    }

    /// When `tick` is on tokio's clock, which timers go by; `None` for [`Tick::MAX`], which is never.
    ///
    /// By the system's clock this reads none; a manual clock stands still, so there what is left is
    /// counted from tokio's time of now.
    #[must_use]
    pub fn instant(&self, tick: Tick) -> Option<tokio::time::Instant> {
        if tick == Tick::MAX {
            return None;
        }
        match self {
            Self::System(start) => {
                let instant = start.checked_add(Duration::from_nanos(tick.0));
                instant.map(tokio::time::Instant::from_std)
            }
            Self::Runtime(start) => start.checked_add(Duration::from_nanos(tick.0)),
            Self::Manual(_) => tokio::time::Instant::now().checked_add(tick.since(self.now())),
        }
    }

    /// Moves a manual clock forward; does nothing to another.
    pub fn advance(&self, time: Duration) {
        if let Self::Manual(nanos) = self {
            nanos.fetch_add(time.as_nanos() as u64, SeqCst);
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}
