//! The composition root's hands: what it puts a program together with.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;

use super::job::Job;
use super::lifecycle::{Course, Hook};
use super::metrics::Metrics;
use super::part::{BoxError, Part};
use super::settings::Settings;
use super::upstream;
use super::worker::Worker;
use crate::Client;
use crate::api::Service;
use crate::client::Builder;
use crate::config::{Upstream, nearest};
use crate::sync::Snapshot;
use crate::sync::shutdown::Life;

/// What the composition root puts a program together with. Clones are of the same program.
///
/// What is added is served, run and stopped by the program; what is added after it has been set up
/// is ignored.
pub struct Setup<C = ()> {
    pub(super) shared: Arc<Shared<C>>,
}

pub(super) struct Shared<C> {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) file: Option<PathBuf>,
    pub(super) life: Life,
    pub(super) settings: Snapshot<Settings>,
    pub(super) upstreams: BTreeMap<String, Upstream>,
    pub(super) own: Arc<Snapshot<C>>,
    pub(super) metrics: Metrics,
    pub(super) assembly: Mutex<Assembly>,
}

/// What has been added.
#[derive(Default)]
pub(super) struct Assembly {
    pub(super) course: Course,
    pub(super) services: Vec<Service>,
    pub(super) http: Option<Router>,
    pub(super) grpc: Option<Router>,
    pub(super) admin: Router,
    pub(super) jobs: Vec<(String, Arc<super::job::JobTotals>)>,
    pub(super) registries: Vec<Arc<dyn crate::discovery::Registry>>,
    pub(super) clients: BTreeMap<String, Client>,
}

impl<C> Clone for Setup<C> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<C> Setup<C> {
    /// The program's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The program's own configuration as it is now.
    #[must_use]
    pub fn config(&self) -> Arc<C> {
        self.shared.own.load_full()
    }

    /// The program's own configuration, to be read anew or waited on while it changes.
    #[must_use]
    pub fn live_config(&self) -> Arc<Snapshot<C>> {
        self.shared.own.clone()
    }

    /// The file that it is configured by, where there is one: for a part that reads a section of its
    /// own, or starts another program by the same file.
    #[must_use]
    pub fn config_file(&self) -> Option<&Path> {
        self.shared.file.as_deref()
    }

    /// What every program is told, as it is now.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        self.shared.settings.load_full()
    }

    /// The program's life: to be told of its end, or to bring it about.
    #[must_use]
    pub fn life(&self) -> Life {
        self.shared.life.clone()
    }

    /// Serves a service made from its definition, by gRPC and by JSON over HTTP.
    pub fn service(&self, service: Service) {
        self.shared.assembly.lock().services.push(service);
    }

    /// Serves more routes by HTTP, behind the same protection.
    ///
    /// # Panics
    /// A route that is there already, or a second fallback.
    pub fn http(&self, router: Router) {
        let mut assembly = self.shared.assembly.lock();
        let routes = assembly.http.take().unwrap_or_default();
        assembly.http = Some(routes.merge(router));
    }

    /// Serves more gRPC services, made by tonic alone: `Routes::new(..).into_axum_router()`.
    ///
    /// # Panics
    /// A service that is there already.
    pub fn grpc(&self, router: Router) {
        let mut assembly = self.shared.assembly.lock();
        let routes = assembly.grpc.take().unwrap_or_default();
        assembly.grpc = Some(routes.merge(router.reset_fallback()));
    }

    /// More admin endpoints, behind the admin token.
    ///
    /// # Panics
    /// A route that is there already, or a fallback.
    pub fn admin(&self, router: Router) {
        let mut assembly = self.shared.assembly.lock();
        let routes = std::mem::take(&mut assembly.admin);
        assembly.admin = routes.merge(router);
    }

    /// Shows more metrics at `/metrics`.
    pub fn metrics(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.shared.metrics.lock());
    }

    /// Shows what `database` counts at `/metrics`. One a program: of a second one the metrics would have
    /// the same names.
    #[cfg(any(feature = "mysql", feature = "sqlite"))]
    pub fn database<DB: crate::data::Backend>(&self, database: &crate::data::Database<DB>) {
        let counts = Box::new(database.clone());
        self.metrics(|registry| registry.register_collector(counts));
    }

    /// Starts and stops `part` with the program.
    pub fn part(&self, part: impl Part) {
        self.shared
            .assembly
            .lock()
            .course
            .parts
            .push(Arc::new(part));
    }

    /// Runs `work` from the start on. The program ends where it fails or panics; returning early is
    /// well. At [`Life::stopping`] it should begin to finish, and the drain waits for it.
    pub fn worker<F, Fut>(&self, name: impl Into<Cow<'static, str>>, work: F)
    where
        F: FnOnce(Life) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.part(Worker::new(name.into(), work));
    }

    /// Runs `run` on a schedule, as [`Job::new`] does; for a deadline of its own, make the
    /// [`Job`] and hand it to [`add_job`](Self::add_job).
    pub fn job<F, Fut>(
        &self,
        name: impl Into<Cow<'static, str>>,
        schedule: impl Into<String>,
        run: F,
    ) where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.add_job(Job::new(name, schedule, run));
    }

    /// Runs a job; it is counted at `/metrics`.
    pub fn add_job(&self, job: Job) {
        let counted = (job.title().to_owned(), job.totals());
        let mut assembly = self.shared.assembly.lock();
        assembly.jobs.push(counted);
        assembly.course.parts.push(Arc::new(job));
    }

    /// Makes the program known to `registry` once it serves, and takes it out again before anything
    /// stops. The one that `[registry]` names needs no call.
    pub fn registry(&self, registry: impl crate::discovery::Registry) {
        let registry = Arc::new(registry);
        self.shared.assembly.lock().registries.push(registry);
    }

    /// The client of `[upstreams.NAME]`; the same one for the same name.
    ///
    /// # Errors
    /// There is no such section; what it says is no client's.
    pub fn client(&self, name: &str) -> Result<Client, BoxError> {
        if let Some(client) = self.shared.assembly.lock().clients.get(name) {
            return Ok(client.clone());
        }
        self.made(name, |builder| builder)
    }

    /// The client of `[upstreams.NAME]`, told what no configuration says: `adjust` has the builder
    /// after all that the section says. From then on it is the one that [`client`](Self::client)
    /// returns.
    ///
    /// # Errors
    /// There is no such section; what it says is no client's; there is a client of this name, which
    /// somebody has as it was.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # fn set_up(app: &seawall::app::Setup) -> Result<(), seawall::app::BoxError> {
    /// let catalog = app.client_with("catalog", |builder| {
    ///     builder.fallback_stale(8 << 20, Duration::from_secs(60))
    /// })?;
    /// # drop(catalog);
    /// # Ok(())
    /// # }
    /// ```
    pub fn client_with(
        &self,
        name: &str,
        adjust: impl FnOnce(Builder) -> Builder,
    ) -> Result<Client, BoxError> {
        if self.shared.assembly.lock().clients.contains_key(name) {
            return Err(format!(
                "there is a client of `{name}` already: adjust it where it is first asked for"
            )
            .into());
        }
        self.made(name, adjust)
    }

    fn made(
        &self,
        name: &str,
        adjust: impl FnOnce(Builder) -> Builder,
    ) -> Result<Client, BoxError> {
        let Some(upstream) = self.shared.upstreams.get(name) else {
            let names = self.shared.upstreams.keys().map(String::as_str);
            let near = nearest(name, names);
            let near = near.map(|near| format!(" (there is `{near}`)"));
            return Err(format!(
                "there is no upstream `{name}`{}: write [upstreams.{name}] with url = \"http://host:port\"",
                near.unwrap_or_default()
            )
            .into());
        };
        let builder = upstream::builder(upstream);
        let client = builder.and_then(|builder| Ok(adjust(builder).build()?));
        let client = client.map_err(|error| format!("upstreams.{name}: {error}"))?;
        let mut assembly = self.shared.assembly.lock();
        assembly.clients.insert(name.to_owned(), client.clone());
        Ok(client)
    }

    /// Runs when everything is put together, before anything is started.
    pub fn before_start<F, Fut>(&self, hook: F)
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.course(|course| course.before_start.push(boxed(hook)));
    }

    /// Runs when everything serves and is registered, before the program says that it is ready.
    pub fn after_start<F, Fut>(&self, hook: F)
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.course(|course| course.after_start.push(boxed(hook)));
    }

    /// Runs when traffic has left, before the servers finish, within the drain's time. An error is
    /// told, and no more.
    pub fn before_stop<F, Fut>(&self, hook: F)
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.course(|course| course.before_stop.push(boxed(hook)));
    }

    /// Runs when every part has stopped, also where the program failed. All of these have five
    /// seconds. An error is told, and no more.
    pub fn after_stop<F, Fut>(&self, hook: F)
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.course(|course| course.after_stop.push(boxed(hook)));
    }

    fn course(&self, add: impl FnOnce(&mut Course)) {
        add(&mut self.shared.assembly.lock().course);
    }
}

fn boxed<F, Fut>(hook: F) -> Hook
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    Box::new(|| Box::pin(hook()))
}
