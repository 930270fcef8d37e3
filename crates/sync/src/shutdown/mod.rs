//! Life and death of a program.
//!
//! A program ends for one of several reasons (a signal, a fatal error, a panic, its work is done),
//! and each path that ends it by itself forgets something else. So there is one path: stop accepting
//! → drain within a time → cancel → clean up, the last registered first; `main` returns the exit code
//! that comes out of it, and a lint keeps `process::exit`, which runs no clean-up, out of the house.
//!
//! Signals are heard on the calling thread, on a runtime of its own, and the program runs on other
//! threads: a program that hogs its workers still ends at the second signal. That one breaks off the
//! drain; clean-up, which is short and leaves things in order, has its time all the same, and a
//! further signal breaks off that, too. To count as a further one it must be SIGINT or SIGTERM and
//! come at least 500 ms after the last that counted: a service manager may send SIGTERM and SIGHUP
//! together, and a terminal that closes is nobody's impatience.
//!
//! What the drain leaves is cut, and has a second to end before the clean-up begins, which may take
//! away what it still uses. It needs no more: a task is dropped at its next await, and one that
//! awaits nothing may never end.

mod life;
mod signals;

use std::fmt;
use std::future::Future;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

pub use life::{Busy, Life};
use signals::{Asking, Source};
pub use signals::{Signal, Signals};

use crate::panics;

#[cfg(test)]
mod tests;

/// The exit code when a further signal broke off the drain: that of a program ended by SIGINT.
pub const BROKEN_OFF: u8 = 130;

/// What was cut may take this long to end before the clean-up begins.
const ENDING: Duration = Duration::from_secs(1);

/// Why the program ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its work is done.
    Done,
    /// [`Life::stop`] was called.
    Asked,
    /// A signal came.
    Signal,
    /// It returned an error, or [`Life::fatal`] was called.
    Fatal(String),
    /// It panicked.
    Panic(String),
}

/// What happens on the way; its text is for an operator to read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The end begins: draining, for at most this time.
    Draining(Cause, Duration),
    /// What was under way did not finish in time.
    TimeUp(Duration),
    /// A further signal broke off the drain or the clean-up.
    BrokenOff,
    /// What was cut has not ended within this time; the clean-up begins all the same.
    StillRunning(Duration),
    /// The program failed when its end had begun for another cause.
    FailedLate(String),
    /// A step panicked; the others go on.
    StepPanicked(String, String),
    /// A step of the clean-up did not finish in time; the others go on.
    CleanupTimeUp(String),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Draining(cause, time) => {
                match cause {
                    Cause::Fatal(error) => writeln!(f, "cannot go on: {error}")?,
                    Cause::Panic(message) => writeln!(f, "panicked: {message}")?,
                    Cause::Done | Cause::Asked | Cause::Signal => {}
                }
                let seconds = time.as_secs_f64();
                write!(
                    f,
                    "draining: finishing what is under way within {seconds} s; a second signal ends at once"
                )
            }
            Self::TimeUp(time) => {
                write!(
                    f,
                    "not everything finished within {} s; the rest is cut",
                    time.as_secs_f64()
                )
            }
            Self::BrokenOff => f.write_str("ended before everything was finished"),
            Self::StillRunning(time) => {
                write!(
                    f,
                    "what was cut still runs after {} s; cleaning up all the same",
                    time.as_secs_f64()
                )
            }
            Self::FailedLate(error) => write!(f, "failed while ending: {error}"),
            Self::StepPanicked(step, message) => write!(f, "`{step}` panicked: {message}"),
            Self::CleanupTimeUp(step) => write!(f, "the clean-up took too long, at `{step}`"),
        }
    }
}

/// How a program is to end.
///
/// ```
/// use seawall_sync::Shutdown;
/// use std::process::ExitCode;
///
/// fn main() -> ExitCode {
///     Shutdown::new().run(async |life| {
///         life.on_exit("pid file", async { /* remove it */ });
///         # life.stop();
///         // Serve here, until the program begins to end:
///         life.stopping().await;
///         Ok::<(), std::io::Error>(())
///     })
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Shutdown {
    drain: Duration,
    cleanup: Duration,
    ends_on: &'static [Signal],
    tell: fn(&Event),
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// Drains for at most 30 s, gives each step of the clean-up 5 s, and tells stderr.
    #[must_use]
    pub fn new() -> Self {
        Self {
            drain: Duration::from_secs(30),
            cleanup: Duration::from_secs(5),
            ends_on: &[Signal::Terminate, Signal::Interrupt, Signal::Hangup],
            // Who read it may be gone, along with the terminal that was closed.
            tell: |event| drop(writeln!(std::io::stderr(), "{event}")),
        }
    }

    /// What is under way may take this long to finish, unless the program
    /// [changes it](Life::set_drain_timeout) while it runs.
    #[must_use]
    pub fn drain_timeout(self, drain: Duration) -> Self {
        Self { drain, ..self }
    }

    /// Each step of the clean-up may take this long; one that takes longer is dropped.
    #[must_use]
    pub fn cleanup_timeout(self, cleanup: Duration) -> Self {
        Self { cleanup, ..self }
    }

    /// SIGHUP is no reason to end: the program listens for it by itself
    /// ([`Signals::only`]). Until it does, the signal does what it does by default, so listen before
    /// this runs.
    #[must_use]
    pub fn leave_hangup(self) -> Self {
        Self {
            ends_on: &[Signal::Terminate, Signal::Interrupt],
            ..self
        }
    }

    /// Tells `tell` what happens, instead of stderr.
    #[must_use]
    pub fn tell(self, tell: fn(&Event)) -> Self {
        Self { tell, ..self }
    }

    /// Runs `program` on a multi-threaded runtime until it and its clean-up have ended; blocks the
    /// calling thread. For `main` to return: 0 after a normal end or a signal, 1 after an error or a
    /// panic of the program (also while it drains), [`BROKEN_OFF`] when a further signal broke off the drain.
    ///
    /// The program itself counts as under way: from the moment that [`Life::stopping`] returns it
    /// has the drain's time to return, and is then dropped at its next await.
    pub fn run<P, F, E>(self, program: P) -> ExitCode
    where
        P: FnOnce(Life) -> F,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display + Send + 'static,
    {
        match Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => self.run_on(runtime, program),
            Err(error) => self.cannot_start(&error),
        }
    }

    /// As [`run`](Self::run), on a runtime that drives itself (multi-threaded).
    pub fn run_on<P, F, E>(self, runtime: Runtime, program: P) -> ExitCode
    where
        P: FnOnce(Life) -> F,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display + Send + 'static,
    {
        let watcher = match Builder::new_current_thread().enable_all().build() {
            Ok(watcher) => watcher,
            Err(error) => return self.cannot_start(&error),
        };
        let life = Life::new(self.drain);
        let code = watcher.block_on(async {
            // Before the program begins, so that no signal is lost.
            let signals = match Signals::only(self.ends_on) {
                Ok(signals) => signals,
                Err(error) => return self.cannot_start(&error),
            };
            let program = {
                let _runtime = runtime.enter();
                catch_unwind(AssertUnwindSafe(|| program(life.clone())))
            };
            // A panic before its first await takes the same path as one after it.
            let program = async move {
                match program {
                    Ok(program) => program.await,
                    Err(panic) => resume_unwind(panic),
                }
            };
            let code = self.supervise(runtime.handle(), life, program, signals);
            ExitCode::from(code.await)
        });
        // Whatever blocks a thread is left to the end of the process.
        runtime.shutdown_background();
        code
    }

    /// As [`run`](Self::run), for a program inside another, or in a test: on the runtime that this is
    /// called on, and with `signals` for the process's. Returns the exit code.
    ///
    /// Dropped before it has returned, it cuts what is under way, and no clean-up runs.
    ///
    /// ```
    /// use seawall_sync::Shutdown;
    /// use seawall_sync::shutdown::Signal;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let (signals, heard) = tokio::sync::mpsc::unbounded_channel();
    /// let program = async |life: seawall_sync::shutdown::Life| {
    ///     life.stopping().await;
    ///     Ok::<(), std::io::Error>(())
    /// };
    /// signals.send(Signal::Terminate)?;
    /// assert_eq!(Shutdown::new().run_within(program, heard).await, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// Outside of a tokio runtime with time enabled.
    pub async fn run_within<P, F, E>(self, program: P, signals: UnboundedReceiver<Signal>) -> u8
    where
        P: FnOnce(Life) -> F,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display + Send + 'static,
    {
        let life = Life::new(self.drain);
        let program = program(life.clone());
        self.supervise(&Handle::current(), life, program, signals)
            .await
    }

    fn cannot_start(&self, error: &std::io::Error) -> ExitCode {
        (self.tell)(&Event::Draining(
            Cause::Fatal(error.to_string()),
            Duration::ZERO,
        ));
        ExitCode::FAILURE
    }

    /// The one path, from the beginning of the program to its exit code.
    async fn supervise<F, E>(
        self,
        runtime: &Handle,
        life: Life,
        program: F,
        signals: impl Source,
    ) -> u8
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display + Send + 'static,
    {
        let mut signals = Asking::new(signals);
        let mut under_way = JoinSet::new();
        let main = life.clone();
        let program = async move {
            match program.await {
                Ok(()) => main.begin(Cause::Done),
                Err(error) => main.begin(Cause::Fatal(error.to_string())),
            }
        };
        let id = under_way.spawn_on(program, runtime).id();
        tokio::select! {
            () = life.stopping() => {}
            () = signals.next() => life.begin(Cause::Signal),
            Some(joined) = under_way.join_next() => {
                if let Some(message) = joined.err().and_then(panic_of) {
                    life.begin(Cause::Panic(message));
                }
            }
        }
        let cause = life.cause().unwrap_or(Cause::Done);
        let signalled = cause == Cause::Signal;
        let time = life.drain_timeout();
        (self.tell)(&Event::Draining(cause, time));
        let second = async {
            // Where something else began the end, the first signal only asks for what is under way.
            if !signalled {
                signals.next().await;
            }
            signals.next().await;
        };
        let drained = tokio::select! {
            done = timeout(time, self.drain(runtime, &life, &mut under_way, id)) => {
                if done.is_err() {
                    (self.tell)(&Event::TimeUp(time));
                }
                true
            }
            () = second => {
                (self.tell)(&Event::BrokenOff);
                false
            }
        };
        self.tell_late(&life);
        life.cancelled().cancel();
        under_way.abort_all();
        let clean_up = async {
            self.end_cut(&life, &mut under_way).await;
            self.clean_up(runtime, &life).await;
        };
        let further = async {
            // The first one of all asks for the end that is under way, whatever began that.
            if !signals.have_asked() {
                signals.next().await;
            }
            signals.next().await;
        };
        tokio::select! {
            () = clean_up => {}
            () = further => (self.tell)(&Event::BrokenOff),
        }
        self.tell_late(&life);
        match life.cause() {
            _ if !drained => BROKEN_OFF,
            _ if life.has_failed() => 1,
            _ => 0,
        }
    }

    async fn drain(
        &self,
        runtime: &Handle,
        life: &Life,
        under_way: &mut JoinSet<()>,
        program: tokio::task::Id,
    ) {
        let mut names = vec![(program, "the program".into())];
        loop {
            // What is under way may register more.
            for (name, step) in life.take_drains() {
                names.push((under_way.spawn_on(step, runtime).id(), name));
            }
            let Some(joined) = under_way.join_next_with_id().await else {
                life.idle().await;
                if life.has_drains() {
                    continue;
                }
                return;
            };
            let Err(error) = joined else { continue };
            let task = error.id();
            let name = names.iter().find(|(id, _)| *id == task);
            if let (Some((_, name)), Some(message)) = (name, panic_of(error)) {
                if task == program {
                    life.failed();
                }
                (self.tell)(&Event::StepPanicked(name.to_string(), message));
            }
        }
    }

    fn tell_late(&self, life: &Life) {
        for error in life.take_late() {
            (self.tell)(&Event::FailedLate(error));
        }
    }

    /// Waits until what was cut has ended: the tasks, and what counts as busy and heard of it.
    async fn end_cut(&self, life: &Life, under_way: &mut JoinSet<()>) {
        let ended = timeout(ENDING, async {
            while let Some(joined) = under_way.join_next().await {
                if let Some(message) = joined.err().and_then(panic_of) {
                    (self.tell)(&Event::StepPanicked("what was cut".into(), message));
                }
            }
            life.idle().await;
        });
        if ended.await.is_err() {
            (self.tell)(&Event::StillRunning(ENDING));
        }
    }

    async fn clean_up(&self, runtime: &Handle, life: &Life) {
        while let Some((name, step)) = life.pop_cleanup() {
            // Ended with this future: a task of its own would go on.
            let mut task = JoinSet::new();
            task.spawn_on(step, runtime);
            match timeout(self.cleanup, task.join_next()).await {
                Ok(Some(Err(error))) => {
                    if let Some(message) = panic_of(error) {
                        (self.tell)(&Event::StepPanicked(name.into(), message));
                    }
                }
                Ok(_) => {}
                Err(_) => (self.tell)(&Event::CleanupTimeUp(name.into())),
            }
        }
    }
}

fn panic_of(error: JoinError) -> Option<String> {
    error.try_into_panic().ok().map(panics::message)
}
