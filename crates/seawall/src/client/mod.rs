//! The caller's half of the story: a ready [`Client`], and its parts as tower layers.
//!
//! Half of every outage is made by the callers: by retries without a budget, by calls that nobody
//! waits for any more, by a stampede on the first host that answers again. The layers keep one
//! order, outermost first:
//!
//! 1. [`DeadlineLayer`]: the call's deadline, from the request that it is made for. First, so that
//!    whatever waits below waits within it.
//! 2. [`FallbackLayer`], [`GutterLayer`]: what stands in for an upstream that fails. Above retries,
//!    since a call fails for good only after them.
//! 3. [`CoalesceLayer`]: one call for many that ask the same. Above retries, so that what many wait
//!    for is retried once.
//! 4. [`RetryLayer`], [`HedgeLayer`]: from one budget.
//! 5. For each attempt: [`ForwardLayer`] writes what is left of the time; [`BreakerLayer`] sees
//!    every attempt, so that it learns from those that a retry hid; [`Balanced`] picks a host that
//!    the call has not tried; then the connection.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use seawall::Client;
//! use seawall::context::Wire;
//! use seawall::layer::Protect;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let stock = Client::new("http://stock.internal:8080")?;
//! let handler = async move || match stock.get("/items").await {
//!     Ok(answer) => answer.map(axum::body::Body::new),
//!     Err(error) => error.reply(Wire::Http).map(axum::body::Body::from),
//! };
//! let app: Router = Router::new().route("/", get(handler)).layer(Protect::default());
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! axum::serve(listener, app).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A breaker above retries would see a call that was saved by its third attempt as a success. One
//! below the balance would see one host; that is what ejection is for.
//!
//! Decisions:
//!
//! - *Nothing is reserved in `poll_ready`*: nothing is known of the call there.
//! - *An attempt ends with its answer's body*, not its head; a failing head is told of at once.
//!   What its caller drops is nothing, and what ran out of time is a failure.
//! - *A failing status is an answer.* Errors are for what has none, and say whether the call may
//!   have run.
//! - *Nothing is passed by hand.* The context of the request being handled is ambient; that a call
//!   made for it was retried in vain goes back up on its reply by itself.
//! - *A body is kept as it is read*, up to a stated size, so nothing waits for it to be whole.
//!
//! Without the feature `client` (on by default) the layers are there, over whatever service one
//! has, and hyper's client is not built.

mod balance;
mod body;
mod breaker;
#[cfg(feature = "client")]
mod builder;
#[cfg(feature = "api")]
mod call;
mod coalesce;
#[cfg(feature = "client")]
mod connection;
mod deadline;
mod error;
mod fallback;
mod forward;
#[cfg(feature = "client")]
mod grpc;
mod gutter;
mod hedge;
mod key;
#[cfg(feature = "client")]
mod kit;
mod outgoing;
mod recorded;
mod replay;
mod retry;
mod stale;
#[cfg(feature = "tls")]
mod tls;
mod whole;

pub use balance::{BalanceFuture, BalanceOptions, Balanced, HashKey, Sent};
pub use body::{Body, READ_LIMIT};
pub use breaker::{BreakerFuture, BreakerLayer, BreakerService, Passed};
#[cfg(feature = "api")]
pub use call::CallExt;
pub use coalesce::{
    Again, CoalesceFuture, CoalesceLayer, CoalesceLayerOf, CoalesceService, SHARED_LIMIT,
};
pub use deadline::{DeadlineFuture, DeadlineLayer, DeadlineService, TimedBody};
pub use error::{Error, ErrorKind, Source as ErrorSource};
pub use fallback::{
    FallbackBody, FallbackFuture, FallbackLayer, FallbackOptions, FallbackService, Fixed,
};
pub use forward::{ForwardLayer, ForwardService};
pub use gutter::{GutterFuture, GutterLayer, GutterService, Taken};
pub use hedge::{HedgeFuture, HedgeLayer, HedgeService};
pub use outgoing::{Outgoing, Repeatable};
pub use recorded::{Record, Recorded};
pub use replay::{REPLAY_LIMIT, Replay, ReplayLayer, ReplayService};
pub use retry::{RetryFuture, RetryLayer, RetryService, RetryTotals};
pub use stale::{StaleStore, Teed};
pub use whole::PassedOrWhole;

#[cfg(feature = "client")]
pub use {
    builder::{BuildError, Builder},
    grpc::{Grpc, GrpcFuture},
    kit::{Client, ClientFuture, ClientTotals},
};
