//! The one way from the start of a program to its end.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::timeout;

use super::part::{AnyPart, BoxError, Doing, guarded};
use crate::sync::shutdown::Life;

/// How long the registry may take to hear that we come or go.
pub(super) const REGISTRY: Duration = Duration::from_secs(5);

/// Where the program is on its way; what readiness is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Not all of it runs yet.
    #[default]
    Starting,
    /// It serves, and says so.
    Serving,
    /// It still serves, and says that it is going.
    Leaving,
    /// It finishes what is under way.
    Draining,
}

impl Phase {
    /// In one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Leaving => "leaving",
            Self::Draining => "draining",
        }
    }
}

/// A step of the program's own, between two of ours.
pub(super) type Hook = Box<dyn FnOnce() -> Doing + Send>;

/// Says that we are there, and that we are no more. `register` returns what takes it back.
pub(super) type Register = Box<dyn FnOnce() -> Doing<Hook> + Send>;

/// What is done on the way, in the order in which it is done.
#[derive(Default)]
pub(super) struct Course {
    pub(super) before_start: Vec<Hook>,
    /// Started in this order.
    pub(super) parts: Vec<Arc<dyn AnyPart>>,
    /// Started after the parts, and drained before them, together.
    pub(super) servers: Vec<Arc<dyn AnyPart>>,
    pub(super) register: Vec<Register>,
    pub(super) after_start: Vec<Hook>,
    pub(super) before_stop: Vec<Hook>,
    pub(super) after_stop: Vec<Hook>,
}

/// How long the steps at the end take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// From deregistration until the servers take no more.
    pub(super) delay: Duration,
    pub(super) drain: Duration,
}

/// Hears of each phase as it begins, and is done before anything else is.
pub(super) type Tell = dyn Fn(Phase) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// What has come about, and must be undone.
#[derive(Default)]
struct Standing {
    parts: Vec<Arc<dyn AnyPart>>,
    servers: Vec<Arc<dyn AnyPart>>,
    registered: Vec<Arc<Mutex<Option<Hook>>>>,
    served: bool,
}

/// Runs a program to the end of its drain; what is to be stopped and cleaned up is registered with
/// `life`, which does that in reverse whatever happens to this future.
///
/// `times` is asked when the end begins. `failed` is told
/// why the program could not start. Returns whether everything finished in time.
pub(super) async fn run(
    mut course: Course,
    life: &Life,
    tell: &Tell,
    times: &(dyn Fn() -> Times + Send + Sync),
    failed: &Mutex<Option<String>>,
) -> bool {
    let after_stop = std::mem::take(&mut course.after_stop);
    // Registered first, so done last.
    life.on_exit("after-stop", async move {
        for hook in after_stop {
            told(guarded("after-stop", hook()).await);
        }
    });
    let before_stop = std::mem::take(&mut course.before_stop);
    let mut standing = Standing::default();
    match start(course, life, &mut standing).await {
        Ok(true) => {
            standing.served = true;
            tell(Phase::Serving).await;
            life.stopping().await;
        }
        Ok(false) => tracing::info!("told to end while starting"),
        Err(error) => {
            *failed.lock() = Some(error.to_string());
            life.fatal(error);
        }
    }
    end(standing, before_stop, tell, times).await
}

/// `false` when the end began meanwhile.
async fn start(course: Course, life: &Life, standing: &mut Standing) -> Result<bool, BoxError> {
    let steps = async {
        for hook in course.before_start {
            guarded("before-start", hook()).await?;
        }
        for part in course.parts {
            begin(&part, life).await?;
            standing.parts.push(part);
        }
        for server in course.servers {
            begin(&server, life).await?;
            standing.servers.push(server);
        }
        for register in course.register {
            let registering = async { timeout(REGISTRY, register()).await? };
            let undo = guarded("register", registering).await?;
            let undo = Arc::new(Mutex::new(Some(undo)));
            // Where this way is broken off, it is taken back all the same, and before any stop.
            let left = undo.clone();
            life.on_exit("deregister", async move { take_back(&left).await });
            standing.registered.push(undo);
        }
        for hook in course.after_start {
            guarded("after-start", hook()).await?;
        }
        Ok(())
    };
    tokio::select! {
        biased;
        done = steps => done.map(|()| true),
        () = life.stopping() => Ok(false),
    }
}

async fn begin(part: &Arc<dyn AnyPart>, life: &Life) -> Result<(), BoxError> {
    let name = part.name();
    guarded(&name, part.clone().start(life.clone())).await?;
    let stops = part.clone();
    // No await since it has started, so nothing can come between the two.
    life.on_exit(format!("stop {name}"), async move {
        let name = stops.name();
        told(guarded(&name, stops.clone().stop()).await);
        tracing::debug!(part = %name, "stopped");
    });
    Ok(())
}

async fn end(
    standing: Standing,
    before_stop: Vec<Hook>,
    tell: &Tell,
    times: &(dyn Fn() -> Times + Send + Sync),
) -> bool {
    let times = times();
    if standing.served {
        tell(Phase::Leaving).await;
    }
    for undo in standing.registered.iter().rev() {
        take_back(undo).await;
    }
    if standing.served && !times.delay.is_zero() {
        tracing::info!(
            seconds = times.delay.as_secs_f64(),
            "serving until callers have heard"
        );
        tokio::time::sleep(times.delay).await;
    }
    tell(Phase::Draining).await;
    let before_stop = if standing.served {
        before_stop
    } else {
        Vec::new()
    };
    let drain = async {
        for hook in before_stop {
            told(guarded("before-stop", hook()).await);
        }
        let servers = standing.servers.iter().map(drained);
        futures_util::future::join_all(servers).await;
        for part in standing.parts.iter().rev() {
            drained(part).await;
        }
    };
    let finished = timeout(times.drain, drain).await.is_ok();
    if !finished {
        tracing::warn!(
            seconds = times.drain.as_secs_f64(),
            "not everything finished in time; the rest is cut"
        );
    }
    finished
}

/// Once, whoever asks first.
async fn take_back(undo: &Mutex<Option<Hook>>) {
    let Some(undo) = undo.lock().take() else {
        return;
    };
    let undo = async { timeout(REGISTRY, undo()).await? };
    told(guarded("deregister", undo).await);
}

fn drained(part: &Arc<dyn AnyPart>) -> impl Future<Output = ()> + use<> {
    let part = part.clone();
    async move {
        let name = part.name();
        told(guarded(&name, part.clone().drain()).await);
    }
}

#[cfg(test)]
mod tests;

/// An error at the end is told, and nothing else waits for it.
fn told(done: Result<(), BoxError>) {
    if let Err(error) = done {
        tracing::error!(%error, "failed while ending");
    }
}
