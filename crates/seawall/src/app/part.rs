//! What a program is made of.

use std::borrow::Cow;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::FutureExt as _;

use crate::sync::shutdown::Life;

/// Why a step failed. Anything that is an error, or a text, becomes one by `?`.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub(super) type Doing<T = ()> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// A part of a program that is started and stopped with it: a pool of connections, a consumer.
///
/// Parts start one after the other, in the order in which they were added, and stop in reverse. A
/// part that has started is stopped exactly once, whatever happens; one that has not, never. So
/// `start` leaves nothing behind when it fails or is dropped at an await, which happens when a signal
/// comes meanwhile.
///
/// ```
/// use seawall::app::{BoxError, Part};
/// use seawall::sync::shutdown::Life;
///
/// struct Warm;
///
/// impl Part for Warm {
///     fn name(&self) -> std::borrow::Cow<'static, str> {
///         "warm-up".into()
///     }
///
///     async fn start(&self, _: Life) -> Result<(), BoxError> {
///         Ok(())
///     }
/// }
/// ```
pub trait Part: Send + Sync + 'static {
    /// As errors and the log name it.
    fn name(&self) -> Cow<'static, str>;

    /// Returns when it is ready for others to use. What goes on afterwards is a task of its own,
    /// which ends the program by [`Life::fatal`] when it cannot go on.
    fn start(&self, life: Life) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Finishes what is under way and takes on nothing new; returns when that is done. Comes after
    /// the servers have finished, and is dropped when the drain's time is up.
    fn drain(&self) -> impl Future<Output = Result<(), BoxError>> + Send {
        std::future::ready(Ok(()))
    }

    /// Ends it; what is still under way is cut. Has five seconds.
    fn stop(&self) -> impl Future<Output = Result<(), BoxError>> + Send {
        std::future::ready(Ok(()))
    }
}

/// A [`Part`] whose type is forgotten.
pub(super) trait AnyPart: Send + Sync {
    fn name(&self) -> Cow<'static, str>;
    fn start(self: Arc<Self>, life: Life) -> Doing;
    fn drain(self: Arc<Self>) -> Doing;
    fn stop(self: Arc<Self>) -> Doing;
}

impl<P: Part> AnyPart for P {
    fn name(&self) -> Cow<'static, str> {
        Part::name(self)
    }

    fn start(self: Arc<Self>, life: Life) -> Doing {
        Box::pin(async move { Part::start(&*self, life).await })
    }

    fn drain(self: Arc<Self>) -> Doing {
        Box::pin(async move { Part::drain(&*self).await })
    }

    fn stop(self: Arc<Self>) -> Doing {
        Box::pin(async move { Part::stop(&*self).await })
    }
}

/// Runs a step whose panic is an error of its own, named.
pub(super) async fn guarded<T>(
    what: &str,
    step: impl Future<Output = Result<T, BoxError>>,
) -> Result<T, BoxError> {
    match AssertUnwindSafe(step).catch_unwind().await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(format!("{what}: {error}").into()),
        Err(panic) => Err(format!("{what}: panicked: {}", message(&*panic)).into()),
    }
}

/// What a panic said.
pub(super) fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a payload that is no text")
}
