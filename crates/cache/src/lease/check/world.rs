//! One key in a small fleet, and what can happen to it next.

use std::time::Duration;

use seawall_policy::Tick;

use crate::lease::Entry;
use crate::store::{Fetch, Fetched, Fill, Put, Stored, Token};

/// A step of time.
const UNIT: Duration = Duration::from_secs(1);
const LEASE: Duration = Duration::from_secs(2);
const FENCE: Duration = Duration::from_secs(2);
const FRESH: Duration = Duration::from_secs(3);
const STALE: Duration = Duration::from_secs(1);
/// Loads that a reader tries before it gives out what it could not keep.
const LOADS: u8 = 2;

/// What is to be tried.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Readers, with the process that each is in: 0 or 1.
    pub readers: [(usize, Reader); 2],
    /// The writer of each process.
    pub writers: [Writer; 2],
    /// Whether the value is known everywhere in the beginning, or nowhere.
    pub warm: bool,
    /// Steps of time: a lease and a fence last two, a value is fresh for three and stale for one.
    pub time: u8,
    /// Times that a process loses the channel.
    pub losses: u8,
    /// Processes that crash.
    pub crashes: u8,
    /// What is done wrong.
    pub fault: Option<Fault>,
}

/// What a reader asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reader {
    /// Nothing that was invalidated.
    Strong,
    /// Something stale rather than to wait.
    Weak,
}

/// How a writer keeps the cache right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Writer {
    /// Does nothing.
    Nobody,
    /// Writes, then invalidates.
    Plain,
    /// Fences, writes, ends the fence.
    Aside,
    /// Fences, writes, ends the fence with the value that it wrote.
    Through,
}

/// Something left out of the protocol, to see that it is missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A fill is taken whoever holds the lease.
    AnyFill,
    /// What is held in process counts as of now, not as of before it was read.
    NoGeneration,
    /// An invalidation does nothing where there is no value.
    LeaseOutlivesInvalidation,
    /// Who writes with a fence sets none.
    NoFence,
    /// No fence is set where there is a value.
    FenceLeavesValue,
    /// A value is put though another write came between.
    PutDespiteOthers,
    /// A lost channel goes unnoticed.
    LossUnnoticed,
    /// A reader joins a load from before an invalidation that its process has heard of.
    JoinsOldLoad,
}

type Version = u8;

#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    fault: Option<Fault>,
    now: Tick,
    time: u8,
    losses: u8,
    crashes: u8,
    database: Version,
    entry: Entry,
    /// The latest version whose invalidation the store has carried out.
    invalidated: Version,
    processes: [Process; 2],
    readers: [Reading; 2],
    writers: [Writing; 2],
}

#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Process {
    crashed: bool,
    /// Of the generation in force: what is held of an earlier one is never given out.
    held: Option<Version>,
    /// Notices on their way, with the version that each tells of.
    notices: Vec<Version>,
    channel: Channel,
    /// The latest version that it was told of.
    heard: Version,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
enum Channel {
    #[default]
    Up,
    /// Lost, and the process does not know.
    Lost,
    /// Nothing was heard for so long that what is held is not given out.
    Silent,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Reading {
    process: usize,
    kind: Reader,
    at: ReaderAt,
    /// The generation that it took before it asked the store is still in force.
    current: bool,
    loads: u8,
    /// When it began: what its process had been told of, and what had been invalidated.
    heard: Version,
    invalidated: Version,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum ReaderAt {
    Start,
    Fetch,
    Joined,
    Waits,
    Load { leased: bool },
    Fill(Version),
    Insert(Version),
    Done(Version),
    Crashed,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Writing {
    kind: Writer,
    at: WriterAt,
    wrote: Version,
    /// Its fence ran out before it wrote: the one thing that `length` has to rule out.
    late: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum WriterAt {
    Fence,
    Write,
    Invalidate,
    /// Its own process voids what it holds.
    Void,
    Done,
    Crashed,
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Read(usize),
    Write(usize),
    Hear(usize),
    Lose(usize),
    NoticeLoss(usize),
    Crash(usize),
    Pass,
}

impl World {
    pub(super) fn new(setup: &Setup) -> Self {
        let mut world = Self {
            fault: setup.fault,
            now: Tick::ZERO,
            time: setup.time,
            losses: setup.losses,
            crashes: setup.crashes,
            database: 1,
            entry: Entry::default(),
            invalidated: 0,
            processes: [Process::default(), Process::default()],
            readers: setup
                .readers
                .map(|(process, kind)| Reading::new(process, kind)),
            writers: setup.writers.map(|kind| Writing {
                kind,
                at: match kind {
                    Writer::Nobody => WriterAt::Done,
                    Writer::Plain => WriterAt::Write,
                    Writer::Aside | Writer::Through => WriterAt::Fence,
                },
                wrote: 0,
                late: false,
            }),
        };
        if setup.warm {
            world.entry.put(world.now, &put(&[1]));
            for process in &mut world.processes {
                process.held = Some(1);
            }
        }
        world
    }

    /// What can happen next.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::with_capacity(12);
        steps.extend((0..2).filter(|&r| self.can_read(r)).map(Step::Read));
        steps.extend((0..2).filter(|&w| self.can_write(w)).map(Step::Write));
        for (p, process) in self.processes.iter().enumerate() {
            if process.crashed {
                continue;
            }
            match process.channel {
                Channel::Up if !process.notices.is_empty() => steps.push(Step::Hear(p)),
                Channel::Up => (),
                Channel::Lost | Channel::Silent => steps.push(Step::NoticeLoss(p)),
            }
            if self.losses > 0 && process.channel == Channel::Up {
                steps.push(Step::Lose(p));
            }
            if self.crashes > 0 && self.may_crash(p) {
                steps.push(Step::Crash(p));
            }
        }
        if self.time > 0 {
            steps.push(Step::Pass);
        }
        steps
    }

    /// The state after `step`.
    ///
    /// # Errors
    /// A reader is given something that it must not.
    pub(super) fn after(&self, step: Step) -> Result<Self, String> {
        let mut next = self.clone();
        match step {
            Step::Read(reader) => next.read(reader)?,
            Step::Write(writer) => next.write(writer),
            Step::Hear(p) => {
                let version = next.processes[p].notices.remove(0);
                next.hear(p, version);
            }
            Step::Lose(p) => {
                next.losses -= 1;
                next.processes[p].notices.clear();
                next.processes[p].channel = Channel::Lost;
            }
            Step::NoticeLoss(p) => {
                next.processes[p].channel = Channel::Up;
                if next.fault != Some(Fault::LossUnnoticed) {
                    next.hear(p, next.invalidated);
                }
            }
            Step::Crash(p) => next.crash(p),
            Step::Pass => {
                next.time -= 1;
                next.now = next.now + UNIT;
                next.entry.expire(next.now);
                for process in &mut next.processes {
                    if process.channel == Channel::Lost && next.fault != Some(Fault::LossUnnoticed)
                    {
                        process.channel = Channel::Silent;
                    }
                }
            }
        }
        next.forget();
        Ok(next)
    }

    /// Drops what nothing depends on any more, so that states which go on alike are one.
    fn forget(&mut self) {
        for r in 0..2 {
            let joined = self.readers[1 - r].at == ReaderAt::Joined;
            let reader = &mut self.readers[r];
            match reader.at {
                ReaderAt::Done(version) => {
                    *reader = Reading {
                        at: ReaderAt::Done(if joined { version } else { 0 }),
                        ..Reading::new(reader.process, reader.kind)
                    };
                }
                ReaderAt::Joined => (reader.current, reader.invalidated) = (false, 0),
                ReaderAt::Start => (),
                _ => reader.heard = 0,
            }
        }
        for p in 0..2 {
            let starts = |reader: &Reading| reader.process == p && reader.at == ReaderAt::Start;
            if !self.readers.iter().any(starts) {
                self.processes[p].heard = 0;
            }
            let writer = &mut self.writers[p];
            if matches!(writer.at, WriterAt::Done | WriterAt::Crashed) {
                (writer.wrote, writer.late) = (0, false);
            }
        }
    }

    /// Looks at what is kept.
    ///
    /// # Errors
    /// The shared entry would give a strong reader what an invalidation has replaced; or nothing is
    /// under way any more, and somewhere there is a value that is not the database's and not marked.
    pub(super) fn look(&self) -> Result<(), String> {
        let good = self.entry.peek(self.now).filter(|s| !s.invalidated);
        let shared = good.as_ref().map(version);
        if let Some(shared) = shared.filter(|&shared| shared < self.invalidated) {
            let invalidated = self.invalidated;
            return Err(format!(
                "shared: {shared}, invalidated before {invalidated}"
            ));
        }
        if !self.is_quiet() {
            return Ok(());
        }
        let database = self.database;
        if let Some(shared) = shared.filter(|&shared| shared != database) {
            return Err(format!("left in the store: {shared}, database: {database}"));
        }
        for (p, process) in self.processes.iter().enumerate() {
            if let Some(held) = process.good().filter(|&held| held != database) {
                return Err(format!("left in process {p}: {held}, database: {database}"));
            }
        }
        Ok(())
    }

    /// Nobody does anything any more, and everything that was told was heard.
    fn is_quiet(&self) -> bool {
        let readers = self
            .readers
            .iter()
            .all(|reader| matches!(reader.at, ReaderAt::Done(_) | ReaderAt::Crashed));
        let writers = self
            .writers
            .iter()
            .all(|writer| matches!(writer.at, WriterAt::Done | WriterAt::Crashed));
        let heard = self.processes.iter().all(|process| {
            process.crashed || (process.notices.is_empty() && process.channel == Channel::Up)
        });
        readers && writers && heard
    }

    fn can_read(&self, r: usize) -> bool {
        match self.readers[r].at {
            ReaderAt::Done(_) | ReaderAt::Crashed => false,
            ReaderAt::Joined => matches!(self.readers[1 - r].at, ReaderAt::Done(_)),
            // Told, or the lease has run out: else it would find what it found before.
            ReaderAt::Waits => {
                let answer = self.entry.clone().fetch(self.now, &self.ask(r));
                !matches!(answer, Fetched::Busy { .. })
            }
            _ => true,
        }
    }

    fn read(&mut self, r: usize) -> Result<(), String> {
        let mut reader = self.readers[r];
        match reader.at {
            ReaderAt::Start => self.start(r, &mut reader)?,
            ReaderAt::Fetch | ReaderAt::Waits => {
                let answer = self.entry.fetch(self.now, &self.ask(r));
                reader.at = match answer {
                    Fetched::Hit(stored) => ReaderAt::Insert(version(&stored)),
                    Fetched::Granted(_) => ReaderAt::Load { leased: true },
                    Fetched::Fenced(_) => ReaderAt::Load { leased: false },
                    Fetched::Busy {
                        stored: Some(stored),
                        ..
                    } if reader.kind == Reader::Weak => ReaderAt::Done(version(&stored)),
                    Fetched::Busy { .. } => ReaderAt::Waits,
                };
            }
            ReaderAt::Load { leased: true } => reader.at = ReaderAt::Fill(self.database),
            ReaderAt::Load { leased: false } => {
                reader.at = reader.given(self.database, reader.invalidated)?;
            }
            ReaderAt::Fill(loaded) => {
                reader.loads += 1;
                reader.at = if self.fill(self.ask(r).token, loaded) {
                    ReaderAt::Insert(loaded)
                } else if reader.loads < LOADS {
                    ReaderAt::Fetch
                } else {
                    reader.given(loaded, reader.invalidated)?
                };
            }
            ReaderAt::Insert(version) => {
                if reader.current || self.fault == Some(Fault::NoGeneration) {
                    self.processes[reader.process].held = Some(version);
                }
                reader.at = reader.given(version, reader.invalidated)?;
            }
            ReaderAt::Joined => {
                if let ReaderAt::Done(version) = self.readers[1 - r].at {
                    reader.at = reader.given(version, reader.heard)?;
                }
            }
            ReaderAt::Done(_) | ReaderAt::Crashed => (),
        }
        self.readers[r] = reader;
        Ok(())
    }

    /// Looks in process, joins a load that is under way there, or sets out for one.
    fn start(&self, r: usize, reader: &mut Reading) -> Result<(), String> {
        let process = &self.processes[reader.process];
        reader.heard = process.heard;
        reader.invalidated = self.invalidated;
        reader.current = true;
        if let Some(held) = process.good() {
            reader.at = reader.given(held, reader.heard)?;
            return Ok(());
        }
        let other = &self.readers[1 - r];
        let loads = matches!(
            other.at,
            ReaderAt::Fetch
                | ReaderAt::Waits
                | ReaderAt::Load { .. }
                | ReaderAt::Fill(_)
                | ReaderAt::Insert(_)
        );
        let alike = other.process == reader.process
            && (other.kind, reader.kind) == (Reader::Strong, Reader::Strong)
            && (other.current || self.fault == Some(Fault::JoinsOldLoad));
        reader.at = if loads && alike {
            ReaderAt::Joined
        } else {
            ReaderAt::Fetch
        };
        Ok(())
    }

    fn ask(&self, r: usize) -> Fetch {
        Fetch {
            token: Token(10 * r as u64 + u64::from(self.readers[r].loads)),
            lease: LEASE,
            early: 0.0,
            copies: 0,
        }
    }

    fn fill(&mut self, token: Token, loaded: Version) -> bool {
        let value = [loaded];
        let fill = Fill {
            token,
            value: Some(&value),
            fresh: FRESH,
            stale: STALE,
            load: Duration::ZERO,
        };
        if self.entry.fill(self.now, &fill).is_some() {
            return true;
        }
        self.fault == Some(Fault::AnyFill) && self.entry.put(self.now, &fill.put()).1
    }

    fn can_write(&self, w: usize) -> bool {
        !matches!(self.writers[w].at, WriterAt::Done | WriterAt::Crashed)
    }

    fn write(&mut self, w: usize) {
        let mut writer = self.writers[w];
        let token = Token(100 + w as u64);
        writer.at = match writer.at {
            WriterAt::Fence => {
                match self.fault {
                    Some(Fault::NoFence) => (),
                    Some(Fault::FenceLeavesValue) if self.entry.peek(self.now).is_some() => (),
                    _ => {
                        self.entry.fence(self.now, token, FENCE);
                    }
                }
                self.tell(0);
                WriterAt::Write
            }
            WriterAt::Write => {
                writer.late = !self.entry.is_fenced();
                self.database += 1;
                writer.wrote = self.database;
                WriterAt::Invalidate
            }
            WriterAt::Invalidate => {
                self.invalidate(&writer, token);
                self.invalidated = self.invalidated.max(writer.wrote);
                self.tell(writer.wrote);
                WriterAt::Void
            }
            WriterAt::Void => {
                self.hear(w, writer.wrote);
                WriterAt::Done
            }
            at @ (WriterAt::Done | WriterAt::Crashed) => at,
        };
        self.writers[w] = writer;
    }

    fn invalidate(&mut self, writer: &Writing, token: Token) {
        let value = [writer.wrote];
        match writer.kind {
            Writer::Nobody => (),
            Writer::Plain => {
                let skipped = self.fault == Some(Fault::LeaseOutlivesInvalidation)
                    && self.entry.peek(self.now).is_none();
                if !skipped {
                    self.entry.invalidate(self.now, true);
                }
            }
            Writer::Aside => {
                self.entry.unfence(self.now, token, None);
            }
            Writer::Through => {
                let put = put(&value);
                let (_, kept) = self.entry.unfence(self.now, token, Some(&put));
                if !kept && self.fault == Some(Fault::PutDespiteOthers) {
                    self.entry.put(self.now, &put);
                }
            }
        }
    }

    /// Process `p` voids everything that it holds, or is about to hold.
    fn hear(&mut self, p: usize, version: Version) {
        let process = &mut self.processes[p];
        process.heard = process.heard.max(version);
        process.held = None;
        for reader in self.readers.iter_mut().filter(|reader| reader.process == p) {
            reader.current = false;
        }
    }

    fn tell(&mut self, version: Version) {
        for process in &mut self.processes {
            if !process.crashed && process.channel == Channel::Up {
                process.notices.push(version);
            }
        }
    }

    /// What no protocol on the cache's side can make good is left out: a writer that dies between
    /// its write and the invalidation without a fence, or after its fence has run out.
    fn may_crash(&self, p: usize) -> bool {
        let writer = &self.writers[p];
        let unprotected = match writer.kind {
            Writer::Nobody | Writer::Plain => true,
            Writer::Aside | Writer::Through => {
                writer.late
                    && self.fault != Some(Fault::NoFence)
                    && self.fault != Some(Fault::FenceLeavesValue)
            }
        };
        !(writer.at == WriterAt::Invalidate && unprotected)
    }

    fn crash(&mut self, p: usize) {
        self.crashes -= 1;
        self.processes[p] = Process {
            crashed: true,
            ..Process::default()
        };
        if self.writers[p].at != WriterAt::Done {
            self.writers[p].at = WriterAt::Crashed;
        }
        for reader in self.readers.iter_mut().filter(|reader| reader.process == p) {
            if !matches!(reader.at, ReaderAt::Done(_)) {
                reader.at = ReaderAt::Crashed;
            }
        }
    }
}

impl Process {
    fn good(&self) -> Option<Version> {
        self.held.filter(|_| self.channel != Channel::Silent)
    }
}

impl Reading {
    fn new(process: usize, kind: Reader) -> Self {
        Self {
            process,
            kind,
            at: ReaderAt::Start,
            current: false,
            loads: 0,
            heard: 0,
            invalidated: 0,
        }
    }

    /// It is given `version`; at least `least` a reader is owed that does not take what is stale.
    fn given(&self, version: Version, least: Version) -> Result<ReaderAt, String> {
        if version < least {
            let kind = self.kind;
            return Err(format!(
                "a {kind:?} reader got {version}, {least} was known"
            ));
        }
        Ok(ReaderAt::Done(version))
    }
}

fn put(value: &[u8]) -> Put<'_> {
    Put {
        value: Some(value),
        fresh: FRESH,
        stale: STALE,
        load: Duration::ZERO,
    }
}

fn version(stored: &Stored) -> Version {
    let value = stored.value.as_deref();
    value.and_then(|value| value.first()).copied().unwrap_or(0)
}
