//! The whole of a service's middleware, in its order, for both transports.

mod body;
mod service;
#[cfg(test)]
mod tests;

use std::ops::Deref;
use std::sync::Arc;

use http::Extensions;
use tower::Layer;

pub use body::StackBody;
pub use service::{StackFuture, StackService};

use super::admission::{AdmissionLayer, AdmissionService};
use super::context::Arrival;
use super::deadline::{DeadlineLayer, DeadlineService, DeadlineTotals};
use super::methods::Methods;
use super::metrics::StackMetrics;
use super::recovery::{self, Recover};
use super::settings::{SettingErrors, Settings};
use super::trace::Trace;
use crate::admission::{Admission, GateChange, GateSettings, Lane, LaneSettings, Shape};
use crate::clock::Clock;
use crate::context::{Reader, Trust};
use crate::telemetry::{Log, SpanSink};
use seawall_policy::limit::{Adaptive, AdaptiveSettings};

/// What the stack puts around a handler.
pub(super) type Below<S> = DeadlineService<AdmissionService<Recover<S>>>;

/// Everything that a service should have in front of its handlers, in the order that holds up:
/// method → context → trace, access log, metrics → authentication → deadline → lane → admission →
/// recovery. The module [argues it](super).
///
/// One stack is cloned over all servers of a program: what competes for the same CPUs and database
/// shares one entrance. It goes by the methods' settings, which [`configure`](Self::configure)
/// swaps while it runs.
///
/// ```
/// use axum::{Router, routing::get};
/// use seawall::layer::{Methods, Stack};
///
/// let stack = Stack::new(Methods::new(&[])?);
/// let http: Router = Router::new().route("/", get(|| async { "hello" }));
/// let http = http.layer(stack.clone());
/// // And for tonic: `Server::builder().layer(stack.clone()).add_routes(routes)`.
/// # drop(http);
/// # Ok::<(), seawall::layer::MethodsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Stack {
    shared: Shared,
    admission: AdmissionLayer,
    deadline: DeadlineLayer,
}

/// What every call shares.
#[derive(Clone, Debug)]
pub(super) struct Shared(Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) methods: Arc<Methods>,
    pub(super) reader: Reader,
    pub(super) log: Option<Log>,
    pub(super) spans: Option<Arc<dyn SpanSink>>,
    pub(super) shadow_deadlines: bool,
    clock: Clock,
}

/// What the stack knows of a call, for the layers below.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) index: u16,
    pub(super) trace: Trace,
    pub(super) lane: Option<Lane>,
    pub(super) shape: Option<Shape>,
    /// Many messages come back.
    pub(super) streams: bool,
    pub(super) max_body: Option<u64>,
}

/// The longest request body that the method of a call takes, where settings say; for adapters
/// that read one whose length is not told beforehand.
#[must_use]
pub fn max_body(extensions: &Extensions) -> Option<u64> {
    Arrival::of(extensions)?.known?.max_body
}

impl Deref for Shared {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Inner {
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }
}

/// Makes a [`Stack`]; from [`Stack::builder`].
#[derive(Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct StackBuilder {
    methods: Arc<Methods>,
    settings: Settings,
    trust: Trust,
    tenant_seed: Option<u64>,
    log: Option<Log>,
    spans: Option<Arc<dyn SpanSink>>,
    admission: Option<Admission>,
    clock: Clock,
    shadow_deadlines: bool,
}

impl Stack {
    /// With every default: nobody outside believed, an adaptive limit, no log and no spans.
    #[must_use]
    pub fn new(methods: impl Into<Arc<Methods>>) -> Self {
        let builder = Self::builder(methods);
        let gate = gate(&Settings::default(), &[]);
        builder.made(Admission::new(gate, Clock::system()))
    }

    /// Step by step.
    pub fn builder(methods: impl Into<Arc<Methods>>) -> StackBuilder {
        StackBuilder {
            methods: methods.into(),
            settings: Settings::default(),
            trust: Trust::Edge,
            tenant_seed: None,
            log: None,
            spans: None,
            admission: None,
            clock: Clock::system(),
            shadow_deadlines: false,
        }
    }

    /// Takes these settings for all calls that begin from now on, of all clones. Calls keep their
    /// places and the limit what it has learned.
    ///
    /// # Errors
    /// Everything wrong with them; nothing has changed then.
    pub fn configure(&self, settings: &Settings) -> Result<(), SettingErrors> {
        let methods = &self.shared.methods;
        methods.configure(settings)?;
        self.admission().change(GateChange {
            limit: None,
            ..GateChange::from(gate(settings, &methods.lanes()))
        });
        Ok(())
    }

    /// The methods that it knows.
    #[must_use]
    pub fn methods(&self) -> &Arc<Methods> {
        &self.shared.methods
    }

    /// The entrance, for its snapshot and for [`Admission::set_cpu`].
    #[must_use]
    pub fn admission(&self) -> &Admission {
        self.admission.admission()
    }

    /// How many calls ran out of time so far.
    #[must_use]
    pub fn deadlines(&self) -> DeadlineTotals {
        self.deadline.totals()
    }

    /// What it counts, for a registry.
    #[must_use]
    pub fn metrics(&self) -> StackMetrics {
        StackMetrics::new(self.shared.methods.clone(), self.admission().clone())
    }
}

impl StackBuilder {
    /// The settings to begin with; every default otherwise.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Whether callers are believed; by default they are not.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// Turns tenants' names into numbers; the same on every replica.
    pub fn tenant_seed(mut self, seed: u64) -> Self {
        self.tenant_seed = Some(seed);
        self
    }

    /// Where access lines go; nowhere by default.
    pub fn log(mut self, log: Log) -> Self {
        self.log = Some(log);
        self
    }

    /// Where the spans of sampled calls go; nowhere by default.
    pub fn spans(mut self, spans: Arc<dyn SpanSink>) -> Self {
        self.spans = Some(spans);
        self
    }

    /// An entrance that others share, in place of one made from `[admission]`, `[lanes]`. Its clock
    /// is the stack's.
    pub fn admission(mut self, admission: Admission) -> Self {
        self.admission = Some(admission);
        self
    }

    /// The clock; by default the system's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Only counts whose deadline passes, and ends nobody; admission's shadow mode is a setting.
    pub fn shadow_deadlines(mut self) -> Self {
        self.shadow_deadlines = true;
        self
    }

    /// The stack.
    ///
    /// # Errors
    /// Everything wrong with the settings.
    pub fn build(mut self) -> Result<Stack, SettingErrors> {
        self.methods.configure(&self.settings)?;
        let admission = match self.admission.take() {
            Some(admission) => admission,
            None => {
                let gate = gate(&self.settings, &self.methods.lanes());
                Admission::new(gate, self.clock.clone())
            }
        };
        Ok(self.made(admission))
    }

    fn made(self, admission: Admission) -> Stack {
        recovery::install();
        for method in self.methods.iter() {
            admission.keys().intern_named(method.name);
        }
        let clock = admission.clock().clone();
        let mut reader = Reader {
            trust: self.trust,
            ..Reader::default()
        };
        reader.tenant_seed = self.tenant_seed.unwrap_or(reader.tenant_seed);
        let deadline = DeadlineLayer::default().clock(clock.clone());
        let deadline = if self.shadow_deadlines {
            deadline.shadow()
        } else {
            deadline
        };
        Stack {
            shared: Shared(Arc::new(Inner {
                methods: self.methods,
                reader,
                log: self.log,
                spans: self.spans,
                shadow_deadlines: self.shadow_deadlines,
                clock,
            })),
            admission: AdmissionLayer::new(admission),
            deadline,
        }
    }
}

impl<S> Layer<S> for Stack {
    type Service = StackService<S>;

    fn layer(&self, inner: S) -> StackService<S> {
        let recover = Recover::new(inner, self.shared.methods.clone());
        let below = self.deadline.layer(self.admission.layer(recover));
        StackService::new(below, self.shared.clone())
    }
}

/// What the gate is told; `lanes` are the names by number.
fn gate(settings: &Settings, lanes: &[String]) -> GateSettings {
    let admission = &settings.admission;
    let (min, max) = (admission.min_limit, admission.max_limit);
    let start = AdaptiveSettings::default().start.clamp(min, max.max(min));
    let share_of = |name: &String| settings.lanes.get(name).and_then(|lane| lane.share);
    GateSettings {
        limit: Box::new(Adaptive::new(AdaptiveSettings { min, max, start })),
        max_wait: admission.max_wait,
        max_queued: admission.max_queued as usize,
        max_streams: admission.max_streams,
        lanes: std::array::from_fn(|at| LaneSettings {
            share: lanes.get(at).and_then(share_of),
        }),
        shadow: admission.shadow,
        shards: std::thread::available_parallelism().map_or(1, usize::from),
    }
}
