//! The parts of a protected server as tower layers, for axum, tonic and anything else that speaks
//! `http::Request` and `http::Response`.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use seawall::layer::Protect;
//!
//! # async fn run() -> std::io::Result<()> {
//! let app: Router = Router::new()
//!     .route("/", get(|| async { "hello" }))
//!     .layer(Protect::default());
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! axum::serve(listener, app).await
//! # }
//! ```
//!
//! [`Protect`] is the four of them in the order that holds up:
//!
//! 1. [`ContextLayer`] reads the [`Call`](crate::Call) out of the headers, once, and takes off
//!    what an outsider forged.
//! 2. [`DeadlineLayer`] refuses a call whose time is up before it costs anything, and ends the
//!    handler of one whose time runs out. It stands outside admission, so that time spent in the
//!    queue counts.
//! 3. [`LaneLayer`] names the lane and the route of what is below it.
//! 4. [`AdmissionLayer`] asks for a place, waits for it, and gives it back at the last byte.
//!
//! A lane is named *before* admission because the gate decides on both in one step: who holds a
//! place under the limit and in the lane never waits for the second while holding the first.
//!
//! Three decisions shape them all. `poll_ready` reserves nothing, since nothing is known of the
//! call there; it only passes on what the inner service says, and the decision falls in `call`.
//! The sample a limit learns from ends with the response's body, not with its headers, or every
//! streamed answer would look instant. And a call that is dropped is still accounted for: cancelled
//! by its client, it frees its place and is no sample; ended by its deadline or by a panic, it is
//! a failure (a layer whose timeout hides the slowest calls from its limit learns that all is well).

pub mod admission;
#[cfg(feature = "api")]
mod answer;
#[cfg(feature = "jwt")]
pub mod auth;
mod body;
pub mod context;
pub mod deadline;
pub mod lane;
pub mod load;
#[cfg(feature = "api")]
mod methods;
#[cfg(feature = "api")]
mod metrics;
mod protect;
#[cfg(feature = "api")]
mod record;
#[cfg(feature = "api")]
mod recovery;
mod requests;
#[cfg(feature = "api")]
pub mod settings;
#[cfg(feature = "api")]
pub mod stack;
#[cfg(feature = "api")]
pub(crate) mod trace;

pub use admission::AdmissionLayer;
#[cfg(feature = "api")]
pub use answer::FailureReason;
pub use body::ResponseBody;
pub use context::{Arrival, ContextLayer, current, within};
pub use deadline::{DeadlineLayer, DeadlineTotals};
pub use lane::{Head, LaneLayer};
pub use load::LoadLayer;
#[cfg(feature = "api")]
pub use methods::{Methods, MethodsError, OTHER};
#[cfg(feature = "api")]
pub use metrics::StackMetrics;
pub use protect::{Protect, Protected, protect};
pub use requests::{RequestName, RequestsLayer, RequestsService};
#[cfg(feature = "api")]
pub use stack::{Stack, StackBuilder};
#[cfg(feature = "api")]
pub use trace::Trace;
