//! Running a loader: never for longer than it may take, and never by way of a panic.

use std::any::Any;
use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use crate::error::{Error, cause};

/// What a loader came to: the value, or that there is none.
pub(super) type Loaded<V> = Result<Option<V>, Error>;

/// A loader, without its type.
pub(super) struct Load<V> {
    pub(super) run: Box<dyn Fn() -> Loading<V> + Send + Sync>,
    /// It is part of a load that asks the guard and counts for itself.
    pub(super) together: bool,
    /// To be told when somebody else loads the key, for now.
    pub(super) waits: Option<Box<dyn Fn() + Send + Sync>>,
}

pub(super) type Loading<V> = Pin<Box<dyn Future<Output = Loaded<V>> + Send>>;

/// `loader` without its type.
pub(super) fn erase<V, F, R, E>(loader: F) -> Load<V>
where
    V: 'static,
    F: Fn() -> R + Send + Sync + 'static,
    R: Future<Output = Result<Option<V>, E>> + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let run = move || -> Loading<V> {
        let loading = loader();
        Box::pin(async move { loading.await.map_err(|error| Error::Load(cause(error))) })
    };
    Load {
        run: Box::new(run),
        together: false,
        waits: None,
    }
}

/// What `work` came to within `limit`. A panic in it is an error.
pub(crate) async fn limited<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let caught = AssertUnwindSafe(work).catch_unwind();
    match tokio::time::timeout(limit, caught).await {
        Ok(Ok(result)) => result,
        Ok(Err(payload)) => Err(Error::Panicked(message(payload))),
        Err(_) => Err(Error::LoadTimeout(limit)),
    }
}

fn message(payload: Box<dyn Any + Send>) -> Arc<str> {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("a payload that is no text").into();
    // Its destructor may panic in its turn; the payload of that one is leaked.
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(another);
    }
    text
}
