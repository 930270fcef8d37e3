//! The channel: a task that is subscribed to every server that publishes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use parking_lot::Mutex;
use redis::{PushInfo, PushKind, Value};
use seawall::clock::Clock;
use seawall_policy::Tick;
use seawall_policy::retry::{Backoff, Schedule};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::{Coherence, Hub};
use crate::redis::{Fault, Redis, Speaker};
use crate::store::Notice;

const BACKOFF: Backoff = Backoff {
    schedule: Schedule::EqualJitter,
    base: Duration::from_millis(20),
    cap: Duration::from_secs(1),
};

impl Coherence {
    /// Follows a channel of Redis. What is missed is known within `bound`, which counts as 10 ms at
    /// least. Outside of a runtime it begins with the first [`Coherence::waiting`].
    pub(crate) fn start(redis: &Redis, channel: &[u8], bound: Duration, clock: Clock) -> Self {
        let bound = bound.max(Duration::from_millis(10));
        let hub = Arc::new(Hub::new(bound, Tick::ZERO));
        let channel = Channel {
            follower: Arc::new(Follower {
                hub: hub.clone(),
                redis: redis.clone(),
                name: channel.into(),
                clock,
                links: Mutex::default(),
                runs: AtomicBool::new(false),
            }),
            task: Mutex::new(None),
        };
        channel.ensure();
        Self {
            hub,
            channel: Some(Arc::new(channel)),
        }
    }
}

/// Ends its task when it is dropped.
pub(super) struct Channel {
    follower: Arc<Follower>,
    task: Mutex<Option<AbortHandle>>,
}

struct Follower {
    hub: Arc<Hub>,
    redis: Redis,
    name: Arc<[u8]>,
    clock: Clock,
    /// Until when everything was heard from each server; `None`: it is not subscribed to.
    links: Mutex<HashMap<Arc<str>, Option<Tick>>>,
    runs: AtomicBool,
}

impl Channel {
    pub(super) fn ensure(&self) {
        if self.follower.runs.load(SeqCst) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let mut task = self.task.lock();
        if !self.follower.runs.swap(true, SeqCst) {
            let runs = Runs(self.follower.clone());
            let follow = async move { runs.0.follow().await };
            *task = Some(runtime.spawn(follow).abort_handle());
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
    }
}

/// The task; whatever ends it, nothing is heard from then on.
struct Runs(Arc<Follower>);

impl Drop for Runs {
    fn drop(&mut self) {
        let links = std::mem::take(&mut *self.0.links.lock());
        if !links.is_empty() {
            self.0.hub.heard.store(0, SeqCst);
            self.0.hub.tell(&Notice::Lost);
        }
        self.0.runs.store(false, SeqCst);
    }
}

impl Follower {
    /// Keeps a link to every server that publishes.
    async fn follow(self: &Arc<Self>) {
        let mut tasks = JoinSet::new();
        let mut links = HashMap::<Arc<str>, AbortHandle>::new();
        let mut failures = 0_u8;
        loop {
            let wait = match self.redis.speakers().await {
                Ok(speakers) => {
                    failures = 0;
                    self.adjust(speakers, &mut links, &mut tasks);
                    self.hub.bound
                }
                Err(_) => {
                    failures = failures.saturating_add(1);
                    BACKOFF.wait(failures, Duration::ZERO, fastrand::u64(..))
                }
            };
            sleep(wait).await;
            while tasks.try_join_next().is_some() {}
        }
    }

    fn adjust(
        self: &Arc<Self>,
        speakers: Vec<Speaker>,
        links: &mut HashMap<Arc<str>, AbortHandle>,
        tasks: &mut JoinSet<()>,
    ) {
        let names: HashSet<_> = speakers
            .iter()
            .map(|speaker| speaker.name.clone())
            .collect();
        let before = links.len();
        links.retain(|name, task| {
            let stays = names.contains(name);
            if !stays {
                task.abort();
            }
            stays
        });
        let left = links.len() < before;
        // In one step: a new one that is not heard yet must not be overlooked in between.
        {
            let mut heard = self.links.lock();
            heard.retain(|name, _| names.contains(name));
            for name in names {
                heard.entry(name).or_insert(None);
            }
            self.publish(&heard);
        }
        if left {
            // What was on its way from there.
            self.hub.tell(&Notice::Lost);
        }
        for speaker in speakers {
            links.entry(speaker.name.clone()).or_insert_with(|| {
                let link = Link {
                    follower: self.clone(),
                    speaker,
                    broken: Arc::default(),
                };
                tasks.spawn(async move { link.keep().await })
            });
        }
    }

    /// What was heard from `name`; a server that is followed no more changes nothing. Whether it was
    /// heard before.
    fn heard(&self, name: &Arc<str>, tick: Option<Tick>) -> bool {
        let mut links = self.links.lock();
        let before = links
            .get_mut(name)
            .map(|heard| std::mem::replace(heard, tick));
        self.publish(&links);
        before.flatten().is_some()
    }

    fn publish(&self, links: &HashMap<Arc<str>, Option<Tick>>) {
        // `None` is less than any.
        let all = links.values().min().copied().flatten();
        // At tick 0 nothing was heard before it.
        self.hub.heard.store(all.map_or(0, |tick| tick.0), SeqCst);
    }
}

/// The subscription to one server.
struct Link {
    follower: Arc<Follower>,
    speaker: Speaker,
    broken: Arc<Notify>,
}

impl Link {
    async fn keep(&self) {
        let mut failures = 0;
        loop {
            let begun = self.follower.clock.now();
            if let Err(fault) = self.listen().await {
                tracing::debug!(server = %self.speaker.name, %fault, "channel lost");
            }
            // What an attempt in vain has missed is lost already, and told when there is one again.
            match self.follower.heard(&self.speaker.name, None) {
                true => self.follower.hub.tell(&Notice::Lost),
                false => self.follower.hub.waiters.tell_all(),
            }
            if self.follower.clock.now().since(begun) > 2 * BACKOFF.cap {
                failures = 0;
            }
            sleep(BACKOFF.wait(failures, Duration::ZERO, fastrand::u64(..))).await;
            failures = failures.saturating_add(1);
        }
    }

    /// Subscribes, and returns when the connection is lost.
    async fn listen(&self) -> Result<(), Fault> {
        let follower = &self.follower;
        let (hub, clock) = (&follower.hub, &follower.clock);
        let mut connection = self.speaker.dial(self.pushed()).await?;
        let mut heard = clock.now();
        let subscribed = connection.subscribe(&*follower.name);
        let limit = hub.bound.max(self.speaker.limit());
        timeout(limit, subscribed)
            .await
            .map_err(|_| Fault::TimedOut)?
            .map_err(|error| self.speaker.fault(&error))?;
        // What was published before was missed. What is read from now on is not.
        hub.tell(&Notice::Lost);
        follower.heard(&self.speaker.name, Some(heard));
        loop {
            tokio::select! {
                () = self.broken.notified() => {
                    return Err(Fault::Unreachable("the connection broke".into()));
                }
                () = sleep(hub.bound / 4) => {}
            }
            let sent = clock.now();
            let left = hub.bound.saturating_sub(sent.since(heard));
            let ping = redis::cmd("PING");
            let pong = timeout(left, connection.send_packed_command(&ping)).await;
            let pong = pong.map_err(|_| Fault::TimedOut)?;
            match pong.map_err(|error| self.speaker.fault(&error))? {
                Value::ServerError(error) => {
                    return Err(Fault::Unexpected(error.code().into()));
                }
                _ => heard = sent,
            }
            follower.heard(&self.speaker.name, Some(heard));
        }
    }

    /// What is called with everything that the server sends of itself.
    fn pushed(&self) -> crate::redis::Pushed {
        let hub: Weak<Hub> = Arc::downgrade(&self.follower.hub);
        let (name, broken) = (self.follower.name.clone(), self.broken.clone());
        Arc::new(move |info: PushInfo| match info.kind {
            PushKind::Disconnection => broken.notify_one(),
            PushKind::Message => {
                if let (Some(hub), [Value::BulkString(channel), payload]) =
                    (hub.upgrade(), info.data.as_slice())
                    && **channel == *name
                {
                    hub.message(payload);
                }
            }
            _ => {}
        })
    }
}

impl Hub {
    fn message(&self, payload: &Value) {
        let notice = match payload {
            Value::BulkString(bytes) => Notice::decode(bytes),
            _ => None,
        };
        if notice.is_none() {
            self.counts.garbage.fetch_add(1, SeqCst);
        }
        self.tell(&notice.unwrap_or(Notice::Lost));
    }
}
