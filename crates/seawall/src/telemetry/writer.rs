//! The lanes and the thread that serves them.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex};

use super::access::AccessEntry;
use super::call::CallEntry;
use super::layer::LogLayer;
use super::line::{Entry, begin, member};
use super::text;

/// A class of lines, most urgent first. An array index is `self as usize`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LogLane {
    /// Errors and warnings.
    Urgent = 0,
    /// Info and below.
    Info = 1,
    /// One line a request.
    Access = 2,
}

impl LogLane {
    /// Every lane, in the order in which they are served.
    pub const ALL: [Self; 3] = [Self::Urgent, Self::Info, Self::Access];

    /// The name used in metrics and in the report of dropped lines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::Info => "info",
            Self::Access => "access",
        }
    }
}

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// An object of JSON each: for machines.
    #[default]
    Json,
    /// A text each, without colours and with nothing that a terminal would obey: for people.
    Text,
}

/// How a [`Log`] writes, and how much it holds.
#[derive(Clone, Copy, Debug)]
pub struct LogSettings {
    /// Lines per lane, by [`LogLane`]. By default 1,024, 4,096 and 16,384: some megabytes at worst.
    pub capacity: [usize; 3],
    /// The most that is written at once, in bytes, and so what an error may have to wait for.
    /// 16 KiB by default.
    pub batch_bytes: usize,
    /// Lines dropped are reported at most this often; 1 s by default.
    pub report_every: Duration,
    /// How lines are written; as JSON by default.
    pub format: LogFormat,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            capacity: [1_024, 4_096, 16_384],
            batch_bytes: 16 << 10,
            report_every: Duration::from_secs(1),
            format: LogFormat::Json,
        }
    }
}

/// Where lines are handed in. Cheap to clone; never blocks on the output.
#[derive(Clone, Debug)]
pub struct Log(Arc<Shared>);

/// Ends the writer when dropped, after what waits has been written; an output that takes longer
/// than a second for that is left.
#[derive(Debug)]
pub struct LogGuard(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: LogSettings,
    lanes: [Lane; 3],
    writer: OnceLock<Thread>,
    asleep: AtomicBool,
    closing: AtomicBool,
    ended: Mutex<bool>,
    end: Condvar,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: Mutex<VecDeque<Entry>>,
    dropped: AtomicU64,
}

impl Log {
    /// Starts a writer thread, named `seawall-log`.
    ///
    /// # Errors
    /// The thread cannot be started.
    ///
    /// ```
    /// use seawall::telemetry::{Log, LogSettings};
    /// use tracing_subscriber::layer::SubscriberExt;
    ///
    /// let (log, guard) = Log::start(std::io::stderr(), LogSettings::default())?;
    /// let subscriber = tracing_subscriber::registry().with(log.layer());
    /// tracing::subscriber::with_default(subscriber, || tracing::info!(port = 8080, "listening"));
    /// drop(guard); // writes what waits
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn start(
        output: impl Write + Send + 'static,
        settings: LogSettings,
    ) -> io::Result<(Self, LogGuard)> {
        let shared = Arc::new(Shared {
            settings,
            lanes: Default::default(),
            writer: OnceLock::new(),
            asleep: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            ended: Mutex::new(false),
            end: Condvar::new(),
        });
        let serve = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("seawall-log".to_owned())
            .spawn(move || Writer::new(&serve, output).run())?;
        shared.writer.get_or_init(|| thread.thread().clone());
        Ok((Self(Arc::clone(&shared)), LogGuard(shared)))
    }

    /// A layer that sends `tracing` events here. Put a `LevelFilter` before it.
    #[must_use]
    pub fn layer(&self) -> LogLayer {
        LogLayer::new(self.clone())
    }

    /// Hands in an access line.
    pub fn access(&self, entry: AccessEntry) {
        self.put(LogLane::Access, Entry::Access(Box::new(entry)));
    }

    /// Hands in a call's access line.
    pub fn call(&self, entry: CallEntry) {
        self.put(LogLane::Access, Entry::Call(Box::new(entry)));
    }

    /// Lines dropped from a lane since the start, for a metric.
    #[must_use]
    pub fn dropped(&self, lane: LogLane) -> u64 {
        self.0.lanes[lane as usize].dropped.load(Ordering::Relaxed)
    }

    pub(super) fn put(&self, lane: LogLane, entry: Entry) {
        let shared = &*self.0;
        {
            let mut waiting = shared.lanes[lane as usize].waiting.lock();
            if waiting.len() >= shared.settings.capacity[lane as usize] {
                shared.lanes[lane as usize]
                    .dropped
                    .fetch_add(1, Ordering::Relaxed);
                return;
            }
            waiting.push_back(entry);
        }
        // The writer says that it sleeps, then looks into the lanes once more. Either it sees this
        // entry there, or its saying so came first and is seen here.
        if shared.asleep.swap(false, Ordering::SeqCst) {
            shared.wake();
        }
    }
}

impl Shared {
    fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.waiting.lock().is_empty())
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.0.closing.store(true, Ordering::SeqCst);
        self.0.wake();
        let mut ended = self.0.ended.lock();
        if !*ended {
            self.0.end.wait_for(&mut ended, Duration::from_secs(1));
        }
    }
}

struct Writer<'s, W> {
    shared: &'s Shared,
    output: W,
    buffer: Vec<u8>,
    /// A line of JSON that is made into text.
    line: Vec<u8>,
    reported: [u64; 3],
    last_report: Option<Instant>,
}

impl<'s, W: Write> Writer<'s, W> {
    const fn new(shared: &'s Shared, output: W) -> Self {
        Self {
            shared,
            output,
            buffer: Vec::new(),
            line: Vec::new(),
            reported: [0; 3],
            last_report: None,
        }
    }

    fn run(mut self) {
        loop {
            let closing = self.shared.closing.load(Ordering::SeqCst);
            self.fill();
            self.report(closing);
            if !self.buffer.is_empty() {
                self.write();
            } else if closing {
                break;
            } else {
                self.sleep();
            }
        }
        *self.shared.ended.lock() = true;
        self.shared.end.notify_all();
    }

    /// Takes from the first lane that has anything, up to a batch: after each batch the more urgent
    /// lanes are looked at again.
    fn fill(&mut self) {
        for lane in &self.shared.lanes {
            while self.buffer.len() < self.shared.settings.batch_bytes {
                let Some(entry) = lane.waiting.lock().pop_front() else {
                    break;
                };
                match self.shared.settings.format {
                    LogFormat::Json => entry.write(&mut self.buffer),
                    LogFormat::Text => {
                        self.line.clear();
                        entry.write(&mut self.line);
                        text::write(&mut self.buffer, &self.line);
                    }
                }
            }
            if !self.buffer.is_empty() {
                return;
            }
        }
    }

    fn write(&mut self) {
        // Nowhere is left to say that the log cannot be written; the next batch tries again.
        let _ = self
            .output
            .write_all(&self.buffer)
            .and_then(|()| self.output.flush());
        self.buffer.clear();
        self.buffer.shrink_to(4 * self.shared.settings.batch_bytes);
    }

    fn dropped(&self) -> [u64; 3] {
        self.shared
            .lanes
            .each_ref()
            .map(|lane| lane.dropped.load(Ordering::Relaxed))
    }

    fn report(&mut self, closing: bool) {
        let dropped = self.dropped();
        if dropped == self.reported {
            return;
        }
        let now = Instant::now();
        let early = self
            .last_report
            .is_some_and(|last| now < last + self.shared.settings.report_every);
        if early && !closing {
            return;
        }
        self.last_report = Some(now);
        for (lane, (dropped, reported)) in LogLane::ALL
            .into_iter()
            .zip(dropped.into_iter().zip(&mut self.reported))
        {
            if dropped > *reported {
                let line = &mut self.line;
                line.clear();
                begin(line, SystemTime::now(), "WARN", "seawall::telemetry");
                let says = "log lines dropped: the output is slower than what is written";
                member(line, "message", says);
                member(line, "lane", lane.as_str());
                member(line, "dropped", dropped - *reported);
                line.extend_from_slice(b"}\n");
                match self.shared.settings.format {
                    LogFormat::Json => self.buffer.extend_from_slice(line),
                    LogFormat::Text => text::write(&mut self.buffer, line),
                }
                *reported = dropped;
            }
        }
    }

    fn sleep(&self) {
        self.shared.asleep.store(true, Ordering::SeqCst);
        if self.shared.is_empty() && !self.shared.closing.load(Ordering::SeqCst) {
            // Nothing is dropped while a lane is empty, so only an old count can be due.
            if self.dropped() == self.reported {
                thread::park();
            } else {
                thread::park_timeout(self.shared.settings.report_every);
            }
        }
        self.shared.asleep.store(false, Ordering::SeqCst);
    }
}
