//! Follows services in etcd, each with one watch however many want it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select;
use futures_util::stream;
use parking_lot::Mutex;
use seawall_policy::Tick;
use seawall_policy::retry::{Backoff, Schedule};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tonic::Streaming;

use super::super::registry::Instance;
use super::super::resolver::Ticks;
use super::super::target::Target;
use super::link::{Dial, Link};
use super::view::{MOST, Took, View};
use super::wire::{
    Done, RangeRequest, RangeResponse, WatchCreate, WatchRequest, WatchResponse, Watching,
};
use super::{Cluster, Error, Service, Settings, keys};

/// Several times running that a watch cannot go on from a range that was just read.
const IN_VAIN: u32 = 3;

/// How often one who waits sees to it that somebody follows: whose task it is may have ended with
/// another runtime.
const LOOK: Duration = Duration::from_secs(2);

/// That all is still well is told so often at most.
const FRESH: Duration = Duration::from_secs(10);

/// Who follows what; cheap to clone.
#[derive(Clone)]
pub(in super::super) struct Hub {
    settings: Settings,
    grace: Duration,
    ticks: Ticks,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    dials: HashMap<Cluster, Arc<Dial>>,
    services: HashMap<Service, Arc<Followed>>,
}

/// A service that was ever wanted. What is known of it stays, for whoever wants it again.
struct Followed {
    service: Service,
    dial: Arc<Dial>,
    /// Held by the task while there is one.
    view: tokio::sync::Mutex<View>,
    told: watch::Sender<Told>,
    /// Is there one?
    runs: Mutex<Option<tokio::task::AbortHandle>>,
}

/// What those who want a service are told.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Told {
    pub(in super::super) instances: Arc<[Arc<Instance>]>,
    pub(in super::super) error: Option<Error>,
    pub(in super::super) answered: Option<Tick>,
    /// It was tried once.
    tried: bool,
}

/// One who wants a service.
pub(in super::super) struct Feed {
    hub: Hub,
    followed: Arc<Followed>,
    scheme: Option<Arc<str>>,
    told: watch::Receiver<Told>,
}

impl Hub {
    pub(in super::super) fn new(settings: Settings, grace: Duration, ticks: Ticks) -> Self {
        Self {
            settings: settings.in_range(),
            grace,
            ticks,
            known: Arc::default(),
        }
    }

    pub(in super::super) fn feed(&self, service: &Service) -> Feed {
        let scheme = service.scheme().map(Into::into);
        let service = service.of_any_scheme();
        let mut known = self.known.lock();
        let Known { dials, services } = &mut *known;
        let followed = services.entry(service).or_insert_with_key(|service| {
            let cluster = service.cluster();
            let dial = dials
                .entry(cluster.clone())
                .or_insert_with(|| Arc::new(Dial::new(cluster.clone(), self.settings.clone())));
            Arc::new(Followed {
                service: service.clone(),
                dial: dial.clone(),
                view: tokio::sync::Mutex::new(View::new(self.grace)),
                told: watch::Sender::new(Told::default()),
                runs: Mutex::new(None),
            })
        });
        Feed {
            hub: self.clone(),
            followed: followed.clone(),
            scheme,
            told: followed.told.subscribe(),
        }
    }
}

impl Feed {
    /// What is known, when something was tried; marks it as seen.
    pub(in super::super) async fn now(&mut self) -> Told {
        loop {
            self.run();
            // The sender lives as long as `followed`.
            let tried = timeout(LOOK, self.told.wait_for(|told| told.tried));
            if let Ok(Ok(told)) = tried.await {
                return told.clone();
            }
        }
    }

    /// Waits until there is something new. Cancel-safe.
    pub(in super::super) async fn changed(&mut self) {
        while timeout(LOOK, self.told.changed()).await.is_err() {
            self.run();
        }
    }

    /// Of the instances, the targets that are wanted.
    pub(in super::super) fn targets(&self, told: &Told) -> Vec<Target> {
        let scheme = self.scheme.as_deref();
        let instances = told.instances.iter();
        instances
            .filter_map(|instance| instance.target(scheme))
            .collect()
    }

    /// Sees to it that somebody follows.
    fn run(&self) {
        let mut runs = self.followed.runs.lock();
        if runs.as_ref().is_none_or(|task| task.is_finished()) {
            let following = Following {
                followed: self.followed.clone(),
                settings: self.hub.settings.clone(),
                ticks: self.hub.ticks,
            };
            *runs = Some(tokio::spawn(following.run()).abort_handle());
        }
    }
}

/// The task that follows a service.
struct Following {
    followed: Arc<Followed>,
    settings: Settings,
    ticks: Ticks,
}

/// A watch that is open.
struct Watch {
    link: Link,
    requests: mpsc::UnboundedSender<WatchRequest>,
    responses: Streaming<WatchResponse>,
}

impl Following {
    /// Until nobody wants it.
    async fn run(self) {
        let unwanted = std::pin::pin!(self.followed.told.closed());
        select(unwanted, std::pin::pin!(self.keep())).await;
    }

    async fn keep(&self) {
        let mut view = self.followed.view.lock().await;
        if view.revision().is_none() {
            // Processes that start together do not ask together.
            sleep(self.wait(0, self.settings.spread / 20)).await;
        }
        let mut failures = 0u8;
        loop {
            let began = view.heard();
            let error = self.follow(&mut view).await;
            let well = view.heard() != began;
            failures = if well { 0 } else { failures.saturating_add(1) };
            self.tell(&view, Some(error));
            let wait = self.wait(failures, self.settings.spread);
            self.idle(&mut view, self.ticks.now() + wait).await;
        }
    }

    fn wait(&self, failures: u8, base: Duration) -> Duration {
        let backoff = Backoff {
            schedule: Schedule::FullJitter,
            base,
            cap: self.settings.retry_cap,
        };
        backoff.wait(failures, Duration::ZERO, fastrand::u64(..))
    }

    /// Waits, and drops those whose time is up while etcd is away.
    async fn idle(&self, view: &mut View, until: Tick) {
        while let Some(due) = view.due().filter(|due| *due < until) {
            self.ticks.until(due).await;
            self.sweep(view);
        }
        self.ticks.until(until).await;
    }

    fn sweep(&self, view: &mut View) {
        view.sweep(self.ticks.now());
        let error = self.followed.told.borrow().error.clone();
        self.tell(view, error);
    }

    /// Follows for as long as it goes well, and returns why no longer.
    async fn follow(&self, view: &mut View) -> Error {
        let mut renewed = None;
        loop {
            let link = match self.followed.dial.link().await {
                Ok(link) => link,
                Err(error) => return error,
            };
            let error = match self.follow_on(view, &link).await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            self.followed.dial.broken(&link).await;
            // A token ends that nobody has shown for some minutes: a new one is no news.
            let stale = self.settings.user.is_some() && error.is_unauthenticated();
            if !stale || renewed == view.heard() {
                return error;
            }
            renewed = view.heard();
        }
    }

    async fn follow_on(
        &self,
        view: &mut View,
        link: &Link,
    ) -> Result<std::convert::Infallible, Error> {
        let mut in_vain = 0;
        loop {
            let revision = match view.revision() {
                Some(revision) => revision,
                None => self.range(view, link).await?,
            };
            let mut watch = self.watch(link, revision + 1).await?;
            match self.listen(view, &mut watch).await? {
                Again::Time => in_vain = 0,
                Again::Vain(why) if in_vain < IN_VAIN => {
                    tracing::info!(service = %self.followed.service, why, "reading it anew");
                    in_vain += 1;
                }
                Again::Vain(why) => return Err(link.ended(why)),
            }
        }
    }

    async fn range(&self, view: &mut View, link: &Link) -> Result<i64, Error> {
        let prefix = self.prefix();
        let range: RangeResponse = link
            .ask(
                "/etcdserverpb.KV/Range",
                RangeRequest {
                    range_end: keys::end_of(&prefix),
                    key: prefix.into_bytes(),
                    limit: MOST as i64,
                },
            )
            .await?;
        if range.more {
            return Err(Error::TooMany(MOST));
        }
        view.range(range, self.ticks.now());
        self.tell(view, None);
        Ok(view.revision().unwrap_or(0))
    }

    fn prefix(&self) -> String {
        let service = &self.followed.service;
        keys::of_service(service.cluster(), service.name())
    }

    async fn watch(&self, link: &Link, from: i64) -> Result<Watch, Error> {
        let prefix = self.prefix();
        let (requests, mut queue) = mpsc::unbounded_channel();
        let create = WatchCreate {
            range_end: keys::end_of(&prefix),
            key: prefix.into_bytes(),
            start_revision: from,
            progress_notify: true,
        };
        // The queue is open: its end is here.
        let _ = requests.send(asking(Watching::Create(create)));
        let queue = stream::poll_fn(move |cx| queue.poll_recv(cx));
        Ok(Watch {
            responses: link.open("/etcdserverpb.Watch/Watch", queue).await?,
            requests,
            link: link.clone(),
        })
    }

    /// Takes in what comes, until the range is to be read again.
    async fn listen(&self, view: &mut View, watch: &mut Watch) -> Result<Again, Error> {
        let Settings {
            quiet,
            timeout: longest,
            reread,
            ..
        } = self.settings;
        let began = self.ticks.now();
        let reread = began + reread + self.wait(0, reread / 10);
        // The first answer is due as one to a question is.
        let (mut heard, mut asked) = (began, true);
        loop {
            let silent = heard + if asked { longest } else { quiet };
            let until = view.due().unwrap_or(Tick::MAX).min(silent).min(reread);
            let wait = until.since(self.ticks.now());
            let message = timeout(wait, watch.responses.message()).await;
            let now = self.ticks.now();
            match message {
                Ok(Ok(Some(message))) => {
                    (heard, asked) = (now, false);
                    match view.message(message, now) {
                        Took::Fine => self.tell(view, None),
                        Took::Anew(why) => return Ok(Again::Vain(why)),
                        Took::Ended(why) => return Err(watch.link.ended(&why)),
                    }
                }
                Ok(Ok(None)) => return Err(watch.link.ended("the watch has ended")),
                Ok(Err(status)) => return Err(watch.link.refused(&status)),
                Err(_) if now >= reread => {
                    view.doubt();
                    return Ok(Again::Time);
                }
                Err(_) if now < silent => self.sweep(view),
                Err(_) if asked => return Err(watch.link.silent()),
                Err(_) => {
                    (heard, asked) = (now, true);
                    let _ = watch.requests.send(asking(Watching::Progress(Done {})));
                }
            }
        }
    }

    fn tell(&self, view: &View, error: Option<Error>) {
        let error = error.or_else(|| view.is_empty().then_some(Error::NoInstance));
        let (instances, answered) = (view.instances(), view.heard());
        self.followed.told.send_if_modified(|told| {
            let age = |told: &Told| Some(answered?.since(told.answered?));
            let same = told.tried
                && told.error == error
                && *told.instances == *instances
                && age(told).is_none_or(|age| age < FRESH);
            if !same {
                *told = Told {
                    instances: instances.into(),
                    error,
                    answered,
                    tried: true,
                };
            }
            !same
        });
    }
}

/// Why a range is read again.
enum Again {
    /// It was time.
    Time,
    /// The watch could not go on.
    Vain(&'static str),
}

const fn asking(request: Watching) -> WatchRequest {
    WatchRequest {
        request: Some(request),
    }
}
