//! A timer that fires when it was told to.
//!
//! tokio's `sleep` rounds up to the next millisecond and then some (20 ms take 21.2), which would
//! cost a 20 ms origin 6 % of its capacity. A kernel timer descriptor is accurate to tens of
//! microseconds and is driven by the same epoll loop.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// A kernel timer descriptor (`CLOCK_MONOTONIC`), one shot, re-armed at will.
#[derive(Debug)]
pub struct Timer {
    descriptor: OwnedFd,
}

impl Timer {
    /// Creates a disarmed timer.
    ///
    /// # Errors
    /// Fails when the process is out of descriptors.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let descriptor = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self { descriptor })
    }

    /// Fires once at `at` (at once if that has passed); replaces what was armed before.
    ///
    /// # Errors
    /// The kernel refuses no value this can produce; an error means the descriptor is broken.
    pub fn arm(&self, at: Instant) -> io::Result<()> {
        // Zero would disarm the timer.
        let left = at
            .saturating_duration_since(Instant::now())
            .max(Duration::from_nanos(1));
        self.set(left)
    }

    /// Forgets what was armed.
    ///
    /// # Errors
    /// As [`Timer::arm`].
    pub fn disarm(&self) -> io::Result<()> {
        self.set(Duration::ZERO)
    }

    fn set(&self, left: Duration) -> io::Result<()> {
        let spec = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            },
        };
        timerfd_settime(&self.descriptor, TimerfdTimerFlags::empty(), &spec)?;
        Ok(())
    }

    /// Takes the expiry, so that the descriptor reads as not ready again.
    fn take(&self) -> io::Result<bool> {
        let mut count = [0_u8; 8];
        match rustix::io::read(&self.descriptor, &mut count) {
            Ok(_) => Ok(true),
            Err(rustix::io::Errno::AGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl std::os::fd::AsRawFd for Timer {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.descriptor.as_raw_fd()
    }
}

/// A [`Timer`] for a tokio runtime.
#[derive(Debug)]
pub struct Alarm {
    timer: AsyncFd<Timer>,
}

impl Alarm {
    /// Creates a disarmed alarm; must be called inside a tokio runtime with I/O enabled.
    ///
    /// # Errors
    /// Fails when the process is out of descriptors.
    pub fn new() -> io::Result<Self> {
        let timer = Timer::new()?;
        // Unsound only for a type whose descriptor can change or close under tokio; a `Timer` owns
        // one and keeps it. Its replacement is an unsafe function, which we do without.
        #[expect(
            deprecated,
            reason = "sound for a type that owns one descriptor for life"
        )]
        let timer = AsyncFd::new(timer)?;
        Ok(Self { timer })
    }

    /// Sets the instant [`Alarm::fired`] waits for; `None` waits for ever.
    ///
    /// # Errors
    /// As [`Timer::arm`].
    pub fn arm(&self, at: Option<Instant>) -> io::Result<()> {
        match at {
            Some(at) => self.timer.get_ref().arm(at),
            None => self.timer.get_ref().disarm(),
        }
    }

    /// Waits until the armed instant. Cancel-safe.
    ///
    /// # Errors
    /// Fails only if the descriptor is broken.
    pub async fn fired(&self) -> io::Result<()> {
        loop {
            let mut ready = self.timer.readable().await?;
            let fired = self.timer.get_ref().take()?;
            ready.clear_ready();
            if fired {
                return Ok(());
            }
        }
    }
}
