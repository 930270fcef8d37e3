//! Stages that work at the same time, and push back when one is slower.
//!
//! Items move in chunks. A channel costs some hundred nanoseconds a message, so single items would
//! be held to a few million a second however little is done to each; a chunk of 64 divides that
//! cost by 64. A chunk is what is there when a stage looks: nothing waits for it to fill.
//!
//! Every channel is bounded, so what is under way is too, and a slow stage is felt at the source. A
//! stage that is done with its input closes its output, so an end travels down by itself. A failure
//! does not travel: it is recorded in one place, which either ends every task (tokio's abort, at
//! the next await) or stops only the source and lets everything else run dry ([`OnError`]). No
//! stage waits for one that is gone, since a channel of which one end is dropped wakes the other.
//!
//! A pipeline is a description until it is started: no task exists before
//! [`start`](Pipeline::start), and none after [`Running`] is dropped.

mod batch;
mod control;
mod link;
mod progress;
mod running;
mod source;
mod stage;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use tokio::sync::{Semaphore, mpsc};

pub use control::{OnError, PipelineControl, PipelineError};
pub use progress::StageProgress;
pub use running::Running;

use crate::FOREVER;
use control::Control;
use link::{Inlet, Outlet, Site};
use progress::{Counters, Writers};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Whether results leave a stage in the order of its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// They do; a slow item holds back the results of those behind it, within bounds.
    Kept,
    /// As they are ready.
    Free,
}

/// How items move and what a failure does.
#[derive(Clone, Copy, Debug)]
pub struct PipelineOptions {
    /// The most items that move together; 64 by default, at least 1. With 1, each item is passed on
    /// by itself.
    pub chunk: usize,
    /// Chunks that a channel between two stages holds; 4 by default, at least 1.
    pub buffer: usize,
    /// What a failure of one item does to the others.
    pub on_error: OnError,
}

impl Default for PipelineOptions {
    fn default() -> Self {
        Self {
            chunk: 64,
            buffer: 4,
            on_error: OnError::default(),
        }
    }
}

/// A source and the stages after it; runs once [started](Self::start).
///
/// Each stage is a task of the runtime that it is started on, or several. Under way are at most, for
/// each stage, `buffer` chunks in its channel and one for each of its workers, two where they keep
/// the order; for [`map_concurrent`](Self::map_concurrent) twice its limit and two chunks; for
/// [`batch`](Self::batch) one batch and one chunk.
///
/// Dropping what runs (a [`Running`], or the future of [`collect_into`](Self::collect_into) or
/// [`run`](Self::run)) ends every task; what is under way is dropped.
///
/// ```
/// use seawall_sync::pipeline::{Order, Pipeline, PipelineError, PipelineOptions};
/// use std::time::Duration;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let mut sums = Vec::new();
/// Pipeline::from_items(PipelineOptions::default(), ["1", "2", "3", "4"])
///     .map("parse", |text| text.parse::<u64>())
///     .map_concurrent("square", 8, Order::Kept, |n| async move { Ok(n * n) })
///     .batch("pairs", 2, Duration::from_millis(10))
///     .map("add", |pair| Ok(pair.iter().sum::<u64>()))
///     .collect_into(&mut sums)
///     .await?;
/// assert_eq!(sums, [5, 25]);
/// # Ok::<(), PipelineError<std::num::ParseIntError>>(())
/// # }).unwrap();
/// ```
pub struct Pipeline<T, E> {
    options: PipelineOptions,
    control: Arc<Control<E>>,
    tasks: Vec<Task>,
    output: mpsc::Receiver<Vec<T>>,
}

impl<T: Send + 'static, E: Send + 'static> Pipeline<T, E> {
    /// Takes from an iterator, whole chunks at a time, as there is room. For values that are at
    /// hand: an iterator that blocks would block its worker, and one that is slow would hold back
    /// the chunk it fills.
    pub fn from_items<I>(options: PipelineOptions, items: I) -> Self
    where
        I: IntoIterator<Item = T>,
        I::IntoIter: Send + 'static,
    {
        let items = items.into_iter();
        Self::from_source(options, Writers::One, move |outlet, site| {
            Box::pin(source::items(items, outlet, site))
        })
    }

    /// Takes from a channel. Its end is the channel's. When the pipeline is stopped, the channel is
    /// closed to its senders, and what it holds is still worked off.
    pub fn from_channel(options: PipelineOptions, items: mpsc::Receiver<T>) -> Self {
        Self::from_source(options, Writers::One, move |outlet, site| {
            Box::pin(source::channel(items, outlet, site))
        })
    }

    /// Takes from a stream as there is room, and as its items come. An error ends the stream.
    pub fn from_stream(
        options: PipelineOptions,
        items: impl Stream<Item = Result<T, E>> + Send + 'static,
    ) -> Self {
        Self::from_source(options, Writers::One, move |outlet, site| {
            Box::pin(source::stream(items, outlet, site))
        })
    }

    /// Takes from several pipelines, in the order in which their items are ready. A failure in one
    /// of them is one of the whole, which ends the others as `options` say.
    pub fn merge(options: PipelineOptions, inputs: impl IntoIterator<Item = Self>) -> Self {
        let mut merged = Vec::new();
        let mut pipeline = Self::from_source(options, Writers::Several, |outlet, site| {
            for input in inputs {
                site.control.adopt_stages(&input.control);
                let (outlet, site) = (outlet.clone(), site.clone());
                merged.push(Box::pin(async move {
                    source::pipeline(input.start(), outlet, site).await;
                }) as Task);
            }
            // Holds no output open: the inputs do.
            Box::pin(std::future::ready(()))
        });
        pipeline.tasks.extend(merged);
        pipeline
    }

    fn from_source(
        options: PipelineOptions,
        writers: Writers,
        build: impl FnOnce(Outlet<T>, Site<E>) -> Task,
    ) -> Self {
        let control = Arc::new(Control::new(options.on_error));
        let (outlet, site, output) = place("source", options, &control, writers);
        Self {
            options,
            tasks: vec![build(outlet, site)],
            control,
            output,
        }
    }

    /// Adds the tasks of one stage.
    fn then<U>(
        mut self,
        name: &'static str,
        writers: Writers,
        build: impl FnOnce(Inlet<T>, Outlet<U>, Site<E>) -> Vec<Task>,
    ) -> Pipeline<U, E> {
        let (outlet, site, output) = place(name, self.options, &self.control, writers);
        let inlet = Inlet {
            chunks: self.output,
            counters: Arc::clone(&site.counters),
        };
        self.tasks.extend(build(inlet, outlet, site));
        Pipeline {
            options: self.options,
            control: self.control,
            tasks: self.tasks,
            output,
        }
    }

    /// Applies `call` to each item, one after another, on one task. For what computes little; it
    /// must not block.
    ///
    /// After a panic, and when draining, `call` is called on for the items that follow.
    pub fn map<U: Send + 'static>(
        self,
        name: &'static str,
        call: impl FnMut(T) -> Result<U, E> + Send + 'static,
    ) -> Pipeline<U, E> {
        self.then(name, Writers::One, |inlet, outlet, site| {
            vec![Box::pin(stage::map(inlet, outlet, site, call))]
        })
    }

    /// Applies `call` to the items on `workers` (at least 1) tasks, each a chunk at a time, so that
    /// the stage can use as many CPUs. For what computes much; it must not block.
    pub fn map_parallel<U: Send + 'static>(
        self,
        name: &'static str,
        workers: usize,
        order: Order,
        call: impl Fn(T) -> Result<U, E> + Send + Sync + 'static,
    ) -> Pipeline<U, E> {
        let workers = workers.max(1);
        self.then(name, Writers::Several, |inlet, outlet, site| {
            stage::map_parallel(inlet, outlet, &site, workers, order, call)
        })
    }

    /// Runs the future that `call` returns for each item, up to `limit` (at least 1) at once, in
    /// one task. For what waits: calls to other services, files.
    pub fn map_concurrent<U, Fut>(
        self,
        name: &'static str,
        limit: usize,
        order: Order,
        call: impl Fn(T) -> Fut + Send + Sync + 'static,
    ) -> Pipeline<U, E>
    where
        U: Send + 'static,
        Fut: Future<Output = Result<U, E>> + Send + 'static,
    {
        let limit = limit.max(1);
        self.then(name, Writers::One, |inlet, outlet, site| {
            vec![Box::pin(stage::map_concurrent(
                inlet, outlet, site, limit, order, call,
            ))]
        })
    }

    /// Gathers items into batches of `size` (at least 1). An incomplete one goes on `wait` after
    /// its first item came, and at the end. Order is kept.
    pub fn batch(self, name: &'static str, size: usize, wait: Duration) -> Pipeline<Vec<T>, E> {
        self.then(name, Writers::One, |inlet, outlet, _| {
            vec![Box::pin(batch::batch(
                inlet,
                outlet,
                size.max(1),
                wait.min(FOREVER),
            ))]
        })
    }

    /// Starts every stage on the current runtime.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime; a [`batch`](Self::batch) needs its timer enabled.
    #[must_use = "what runs ends when this is dropped"]
    pub fn start(self) -> Running<T, E> {
        let tasks = self.control.start(self.tasks);
        Running::new(self.control, tasks, self.output)
    }

    /// Runs to the end and adds what comes out to `results`: also what came out before a failure,
    /// or before this future was dropped.
    ///
    /// # Errors
    ///
    /// The first failure.
    pub async fn collect_into(self, results: &mut impl Extend<T>) -> Result<(), PipelineError<E>> {
        let mut running = self.start();
        while let Some(chunk) = running.recv_chunk().await? {
            results.extend(chunk);
        }
        Ok(())
    }

    /// Runs to the end and drops what comes out: for a pipeline whose last stage is where items go.
    /// Returns what each stage has done.
    ///
    /// # Errors
    ///
    /// The first failure.
    pub async fn run(self) -> Result<Vec<StageProgress>, PipelineError<E>> {
        let mut running = self.start();
        while running.recv_chunk().await?.is_some() {}
        Ok(running.control().progress())
    }
}

/// A stage's place, and the channel after it.
fn place<U, E: Send + 'static>(
    name: &'static str,
    options: PipelineOptions,
    control: &Arc<Control<E>>,
    writers: Writers,
) -> (Outlet<U>, Site<E>, mpsc::Receiver<Vec<U>>) {
    let counters = Arc::new(Counters::new(name, writers));
    control.add_stage(&counters);
    let (sender, output) = mpsc::channel(options.buffer.clamp(1, Semaphore::MAX_PERMITS));
    let site = Site {
        counters: Arc::clone(&counters),
        control: Arc::clone(control),
        chunk: options.chunk.max(1),
    };
    (Outlet::new(sender, counters), site, output)
}

impl<T, E> fmt::Debug for Pipeline<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("options", &self.options)
            .field("tasks", &self.tasks.len())
            .finish_non_exhaustive()
    }
}
