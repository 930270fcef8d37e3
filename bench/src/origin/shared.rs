//! What the origin's connections, its timer and its handle share: the slots behind one lock.
//!
//! All but the handle run on one thread, so the lock is never contended in a measurement.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Config, Protocol, Sampler, Slots, Standing, Stats};
use crate::alarm::Alarm;

#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    earlier: Notify,
    paths: Vec<(String, Duration)>,
    pub(super) answer: Bytes,
    pub(super) protocol: Protocol,
}

#[derive(Debug)]
struct State {
    slots: Slots,
    sampler: Sampler,
    service: Duration,
    /// What the timer is armed for.
    armed: Option<Instant>,
    status: StatusCode,
}

impl Shared {
    pub(super) fn new(config: Config) -> Self {
        let mut answer = vec![b'.'; config.answer_bytes];
        if let Some(last) = answer.last_mut() {
            *last = b'\n';
        }
        Self {
            state: Mutex::new(State {
                slots: Slots::new(config.slots, config.slows, config.gone),
                sampler: Sampler::new(config.distribution, config.seed),
                service: config.service,
                armed: None,
                status: StatusCode::OK,
            }),
            earlier: Notify::new(),
            paths: config.paths,
            answer: Bytes::from(answer),
            protocol: config.protocol,
        }
    }

    /// Ends what is due, for ever.
    pub(super) async fn drive(&self) -> io::Result<()> {
        let alarm = Alarm::new()?;
        loop {
            {
                let mut state = self.state.lock();
                state.slots.advance(Instant::now());
                state.armed = state.slots.next_end();
                alarm.arm(state.armed)?;
            }
            tokio::select! {
                fired = alarm.fired() => fired?,
                () = self.earlier.notified() => {}
            }
        }
    }

    pub(super) fn enter(self: &Arc<Self>, path: &str, reads_body: bool) -> Place {
        let own = self
            .paths
            .iter()
            .find(|(prefix, _)| path.starts_with(prefix.as_str()));
        let id = self.change(Instant::now(), |state, now| {
            let mean = own.map_or(state.service, |(_, service)| *service);
            let service = state.sampler.draw(mean);
            state.slots.enter(service, reads_body, now)
        });
        Place {
            shared: Arc::clone(self),
            id,
        }
    }

    pub(super) fn set_slots(&self, slots: usize, now: Instant) {
        self.change(now, |state, now| state.slots.set_slots(slots, now));
    }

    pub(super) fn set_service(&self, service: Duration) {
        self.state.lock().service = service;
    }

    /// What HTTP calls are answered from now on.
    pub(super) fn set_status(&self, status: StatusCode) {
        self.state.lock().status = status;
    }

    pub(super) fn status(&self) -> StatusCode {
        self.state.lock().status
    }

    pub(super) fn stats(&self, now: Instant) -> Stats {
        let mut state = self.state.lock();
        state.slots.advance(now);
        state.slots.stats()
    }

    /// Changes the state, and moves the timer if something now ends sooner.
    fn change<T>(&self, now: Instant, change: impl FnOnce(&mut State, Instant) -> T) -> T {
        let mut state = self.state.lock();
        // What ended before this instant must not see the change.
        state.slots.advance(now);
        let changed = change(&mut state, now);
        let sooner = match (state.slots.next_end(), state.armed) {
            (Some(end), Some(armed)) => end < armed,
            (end, _) => end.is_some(),
        };
        drop(state);
        if sooner {
            self.earlier.notify_one();
        }
        changed
    }
}

/// A request's place at the origin, given up on drop.
#[derive(Debug)]
pub(super) struct Place {
    shared: Arc<Shared>,
    id: u64,
}

impl Place {
    /// Waits for a slot (true: then read the body) or, without a body, for the end.
    pub(super) async fn held(&self) -> bool {
        self.until(|standing| matches!(standing, Standing::Reading | Standing::Done))
            .await
            == Standing::Reading
    }

    pub(super) fn body_read(&self) {
        self.shared.change(Instant::now(), |state, now| {
            state.slots.body_read(self.id, now)
        });
    }

    pub(super) async fn done(&self) {
        self.until(|standing| standing == Standing::Done).await;
    }

    async fn until(&self, reached: impl Fn(Standing) -> bool) -> Standing {
        poll_fn(|context| {
            let standing = (self.shared.state.lock().slots).standing(self.id, context.waker());
            if reached(standing) {
                Poll::Ready(standing)
            } else {
                Poll::Pending
            }
        })
        .await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared
            .change(Instant::now(), |state, now| state.slots.leave(self.id, now));
    }
}
