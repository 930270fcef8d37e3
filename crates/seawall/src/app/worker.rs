//! Work that goes on beside the servers.

use std::borrow::Cow;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::task::AbortHandle;

use super::part::{BoxError, Doing, Part, message};
use crate::sync::CancellationToken;
use crate::sync::shutdown::Life;
use crate::sync::tasks::{self, Kind};

type Begin = Box<dyn FnOnce(Life) -> Doing + Send>;

/// A task that is to run as long as the program, and ends it where it cannot.
pub(super) struct Worker {
    name: Cow<'static, str>,
    begin: Mutex<Option<Begin>>,
    task: Mutex<Option<AbortHandle>>,
    ended: CancellationToken,
}

impl Worker {
    pub(super) fn new<F, Fut>(name: Cow<'static, str>, work: F) -> Self
    where
        F: FnOnce(Life) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        Self {
            name,
            begin: Mutex::new(Some(Box::new(|life| Box::pin(work(life))))),
            task: Mutex::default(),
            ended: CancellationToken::new(),
        }
    }
}

impl Part for Worker {
    fn name(&self) -> Cow<'static, str> {
        self.name.clone()
    }

    async fn start(&self, life: Life) -> Result<(), BoxError> {
        let Some(begin) = self.begin.lock().take() else {
            return Err("is started already".into());
        };
        let (name, ended) = (self.name.clone(), self.ended.clone());
        let task = tokio::spawn(async move {
            let _ended = ended.drop_guard();
            // A panic before its first await is caught as well.
            let work = async { begin(life.clone()).await };
            let work = tasks::track(Kind::Worker, name.clone(), work);
            match AssertUnwindSafe(work).catch_unwind().await {
                Ok(Ok(())) => tracing::info!(worker = %name, "finished"),
                Ok(Err(error)) => life.fatal(format!("{name}: {error}")),
                Err(panic) => life.fatal(format!("{name}: panicked: {}", message(&*panic))),
            }
        });
        *self.task.lock() = Some(task.abort_handle());
        Ok(())
    }

    async fn drain(&self) -> Result<(), BoxError> {
        self.ended.cancelled().await;
        Ok(())
    }

    async fn stop(&self) -> Result<(), BoxError> {
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
        self.ended.cancelled().await;
        Ok(())
    }
}
