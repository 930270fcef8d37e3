//! Time limits without a timer per request.
//!
//! A limit here is of seconds and almost never strikes, so it needs neither precision nor a place
//! in a timer wheel. Every core keeps a slab of alarms; arming one is a store under an uncontended
//! lock, and a sweeper walks the slab when the earliest of them is due, at most every 10 ms. What a
//! runtime's timer costs beyond that is a system call whenever a new timer is the earliest.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use seawall::clock::Clock;
use seawall_policy::Tick;
use slab::Slab;
use tokio::sync::Notify;

/// The least time between two walks, and so the precision of an alarm.
const GRAIN: Duration = Duration::from_millis(10);

/// The alarms of one core.
#[derive(Debug)]
pub(crate) struct Sweep {
    alarms: Mutex<Slab<Entry>>,
    /// When the sweeper wakes by itself.
    next: AtomicU64,
    earlier: Notify,
    clock: Clock,
}

#[derive(Debug)]
struct Entry {
    /// `Tick::MAX` while disarmed.
    due: Tick,
    rung: bool,
    waker: Option<Waker>,
}

/// One alarm; removed from its slab when dropped.
#[derive(Debug)]
pub(crate) struct Alarm {
    sweep: Arc<Sweep>,
    key: usize,
}

impl Sweep {
    pub(crate) fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            alarms: Mutex::new(Slab::new()),
            next: AtomicU64::new(u64::MAX),
            earlier: Notify::new(),
            clock,
        })
    }

    /// A new alarm, disarmed.
    pub(crate) fn alarm(self: &Arc<Self>) -> Alarm {
        let entry = Entry {
            due: Tick::MAX,
            rung: false,
            waker: None,
        };
        Alarm {
            sweep: self.clone(),
            key: self.alarms.lock().insert(entry),
        }
    }

    /// Wakes everyone who holds an alarm, without ringing it: a drain has begun, say.
    pub(crate) fn wake_all(&self) {
        for (_, entry) in self.alarms.lock().iter() {
            if let Some(waker) = &entry.waker {
                waker.wake_by_ref();
            }
        }
    }

    /// Rings what is due; returns when the next alarm is.
    fn walk(&self, now: Tick) -> Tick {
        let mut next = Tick::MAX;
        let mut alarms = self.alarms.lock();
        for (_, entry) in alarms.iter_mut() {
            if entry.due <= now {
                entry.due = Tick::MAX;
                entry.rung = true;
                if let Some(waker) = &entry.waker {
                    waker.wake_by_ref();
                }
            }
            next = next.min(entry.due);
        }
        let next = if next == Tick::MAX {
            next
        } else {
            next.max(now + GRAIN)
        };
        self.next.store(next.0, Ordering::Relaxed);
        next
    }

    /// Walks for ever. One task per core runs this.
    ///
    /// An alarm that is earlier than all others brings the next walk forward and does not cause one
    /// now: most are disarmed again within milliseconds, and what they leave behind is one walk
    /// for nothing at the time when they were due.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            self.walk(self.clock.now());
            loop {
                let next = Tick(self.next.load(Ordering::Relaxed));
                if next == Tick::MAX {
                    self.earlier.notified().await;
                    continue;
                }
                let left = next.since(self.clock.now());
                if left.is_zero()
                    || tokio::time::timeout(left, self.earlier.notified())
                        .await
                        .is_err()
                {
                    break;
                }
            }
        }
    }
}

impl Alarm {
    /// Arms for `due`, or disarms with `Tick::MAX`. Forgets an earlier ringing.
    pub(crate) fn set(&self, due: Tick) {
        {
            let mut alarms = self.sweep.alarms.lock();
            let entry = &mut alarms[self.key];
            entry.due = due;
            entry.rung = false;
        }
        if (due + GRAIN).0 < self.sweep.next.load(Ordering::Relaxed) && due != Tick::MAX {
            self.sweep.next.store(due.0, Ordering::Relaxed);
            self.sweep.earlier.notify_one();
        }
    }

    /// Arms for `due` where it is not armed for sooner, or has rung.
    pub(crate) fn hasten(&self, due: Tick) {
        let later = {
            let alarms = self.sweep.alarms.lock();
            let entry = &alarms[self.key];
            !entry.rung && entry.due > due
        };
        if later {
            self.set(due);
        }
    }

    /// Ready once it has rung; else the task is woken when it does.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut alarms = self.sweep.alarms.lock();
        let entry = &mut alarms[self.key];
        if entry.rung {
            return Poll::Ready(());
        }
        match &entry.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => entry.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.sweep.alarms.lock().remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    struct Count(AtomicUsize);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn is_hastened_but_never_put_off() {
        let sweep = Sweep::new(Clock::manual());
        let alarm = sweep.alarm();
        let cx = Context::from_waker(Waker::noop());
        for due in [300, 100, 200] {
            alarm.hasten(Tick::from_millis(due));
        }
        assert_eq!(sweep.walk(Tick::from_millis(99)), Tick::from_millis(109));
        sweep.walk(Tick::from_millis(100));
        alarm.hasten(Tick::from_millis(400));
        assert!(alarm.poll(&cx).is_ready());
    }

    #[test]
    fn rings_once_when_due_and_not_when_disarmed() {
        let sweep = Sweep::new(Clock::manual());
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(count.clone());
        let cx = Context::from_waker(&waker);
        let (first, second) = (sweep.alarm(), sweep.alarm());
        first.set(Tick::from_millis(100));
        second.set(Tick::from_millis(200));
        assert!(first.poll(&cx).is_pending() && second.poll(&cx).is_pending());
        assert_eq!(sweep.walk(Tick::from_millis(99)), Tick::from_millis(109));
        second.set(Tick::MAX);
        assert_eq!(sweep.walk(Tick::from_millis(300)), Tick::MAX);
        assert!(first.poll(&cx).is_ready() && second.poll(&cx).is_pending());
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        drop(first);
        sweep.wake_all();
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
    }
}
