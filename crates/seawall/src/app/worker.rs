//! Work that goes on beside the servers.

use std::borrow::Cow;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use parking_lot::Mutex;

use super::part::{BoxError, Doing, Part, message};
use super::running::Running;
use crate::sync::shutdown::Life;
use crate::sync::tasks::{self, Kind};

type Begin = Box<dyn FnOnce(Life) -> Doing + Send>;

/// A task that is to run as long as the program, and ends it where it cannot.
pub(super) struct Worker {
    name: Cow<'static, str>,
    begin: Mutex<Option<Begin>>,
    running: Running,
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
            running: Running::default(),
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
        let name = self.name.clone();
        self.running.start(async move {
            // A panic before its first await is caught as well.
            let work = async { begin(life.clone()).await };
            let work = tasks::track(Kind::Worker, name.clone(), work);
            match AssertUnwindSafe(work).catch_unwind().await {
                Ok(Ok(())) => tracing::info!(worker = %name, "finished"),
                Ok(Err(error)) => life.fatal(format!("{name}: {error}")),
                Err(panic) => life.fatal(format!("{name}: panicked: {}", message(&*panic))),
            }
        });
        Ok(())
    }

    async fn drain(&self) -> Result<(), BoxError> {
        self.running.ended().await;
        Ok(())
    }

    async fn stop(&self) -> Result<(), BoxError> {
        self.running.cut().await;
        Ok(())
    }
}
