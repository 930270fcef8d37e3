//! What is being worked on: requests, tasks, jobs and closures, by name.
//!
//! Stable tokio tells how many tasks there are, and nothing of any of them. Its task dumps and its
//! console need the whole program built with `--cfg tokio_unstable`, and the console a span for each
//! task and poll. So whoever knows a name enters what it begins on a board of slots, and leaves when
//! it ends. Named groups, tasks with a name and [`Blocking`](crate::Blocking) pools do so by
//! themselves; other futures are [`tracked`](track).
//!
//! Entering reads no clock and allocates nothing: a slot near the calling thread is claimed by its
//! lock, which nobody else wants, where the last one became free, and leaving is one store. Each poll is counted by
//! its task alone, so a reader that looks twice knows whether the task was polled in between, and
//! which one has been in a single poll all along. Where in its code a task waits is not known.
//!
//! A board has room for about 65,000 on each shard. What does not fit runs as well, unseen and
//! counted ([`unseen`]).

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::task::{Context, Poll};
use std::time::Instant;

use crossbeam_utils::CachePadded;
use parking_lot::Mutex;
use pin_project_lite::pin_project;

use crate::sharded::{Shard, Sharded};

/// What kind of work it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A request being handled.
    Request,
    /// A task of a named group, or with a name of its own.
    Task,
    /// A worker of the program, for as long as it runs.
    Worker,
    /// A run of a scheduled job.
    Job,
    /// A closure on a [`Blocking`](crate::Blocking) pool, from when it is queued.
    Blocking,
}

impl Kind {
    /// As text: `request`, `task`, `worker`, `job`, `blocking`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Task => "task",
            Self::Worker => "worker",
            Self::Job => "job",
            Self::Blocking => "blocking",
        }
    }
}

/// What is told of a piece of work when it begins.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct About {
    /// What kind it is.
    pub kind: Kind,
    /// Its name: a method, a job. A static one costs nothing.
    pub name: Cow<'static, str>,
    /// The group or pool that it belongs to.
    pub group: Option<Arc<str>>,
    /// Since when.
    pub since: Instant,
    /// When it has to be done.
    pub until: Option<Instant>,
    /// The trace it is part of; 0 is none.
    pub trace: u128,
    /// Where it was started.
    pub started: Option<&'static Location<'static>>,
}

impl About {
    /// Without a deadline, a group or a trace.
    #[must_use]
    pub fn new(kind: Kind, name: impl Into<Cow<'static, str>>, since: Instant) -> Self {
        Self {
            kind,
            name: name.into(),
            group: None,
            since,
            until: None,
            trace: 0,
            started: None,
        }
    }
}

/// What a look at the board shows of one entry.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Seen {
    /// The same for an entry at every look, and no other's.
    pub id: u64,
    /// What was told of it.
    pub about: About,
    /// How often it was polled, this time included.
    pub polls: u64,
    /// The thread that is polling it, as the kernel numbers them (0 where that is not known).
    pub polled_by: Option<u32>,
}

/// Everything on the board, in no order. Not of one instant: what ends meanwhile may be missing.
#[must_use]
pub fn all() -> Vec<Seen> {
    BOARD.iter().flat_map(Shelf::seen).collect()
}

/// What is being polled, or runs, at this moment: no more than there are threads, and without a lock
/// taken for any other. For who looks often.
#[must_use]
pub fn running() -> Vec<Seen> {
    let rows = BOARD.iter().flat_map(Shelf::rows);
    let slots = rows.flat_map(|row| row.slots.iter());
    let running = slots.filter(|slot| slot.runs());
    running
        .filter_map(|slot| slot.look())
        .filter(|seen| seen.polled_by.is_some())
        .collect()
}

/// How many entries found no room on the board since the start.
#[must_use]
pub fn unseen() -> u64 {
    BOARD.iter().map(|s| s.unseen.load(Ordering::Relaxed)).sum()
}

/// Enters a piece of work, which is on the board until the [`Entry`] is dropped.
///
/// ```
/// use seawall_sync::tasks::{self, About, Kind};
/// use std::time::Instant;
///
/// let entry = tasks::enter(About::new(Kind::Job, "expire", Instant::now()));
/// assert!(tasks::all().iter().any(|seen| seen.about.name == "expire"));
/// drop(entry);
/// assert!(!tasks::all().iter().any(|seen| seen.about.name == "expire"));
/// ```
#[must_use = "leaves the board when dropped"]
pub fn enter(about: About) -> Entry {
    Entry(BOARD.get(Shard::current()).enter(about))
}

/// `future`, on the board from now until it is done or dropped. As cancel-safe as the future.
///
/// ```
/// use seawall_sync::tasks::{self, Kind};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let work = async { tasks::all().iter().any(|seen| seen.about.name == "refresh") };
/// assert!(tasks::track(Kind::Worker, "refresh", work).await);
/// # });
/// ```
#[track_caller]
pub fn track<F: Future>(kind: Kind, name: impl Into<Cow<'static, str>>, future: F) -> Tracked<F> {
    let mut about = About::new(kind, name, Instant::now());
    about.started = Some(Location::caller());
    enter(about).track(future)
}

/// A piece of work on the board.
#[derive(Debug)]
pub struct Entry(Option<Place>);

impl Entry {
    /// Marks that the work runs on the calling thread until the mark is dropped: a poll, or a closure.
    #[inline]
    pub fn turn(&self) -> Turn<'_> {
        let slot = self.0.as_ref().map(|place| place.slot);
        slot.inspect(|slot| slot.begin_turn());
        Turn {
            slot,
            _entry: PhantomData,
        }
    }

    /// `future` as this entry's work: its polls are counted.
    pub fn track<F: Future>(self, future: F) -> Tracked<F> {
        Tracked {
            future,
            entry: self,
        }
    }
}

/// While it lives, an entry's work runs on this thread.
#[derive(Debug)]
#[must_use = "ends when dropped"]
pub struct Turn<'a> {
    slot: Option<&'static Slot>,
    /// The slot is another's once the entry is gone.
    _entry: PhantomData<&'a Entry>,
}

impl Drop for Turn<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            slot.end_turn();
        }
    }
}

pin_project! {
    /// A future on the board: what [`track`] makes.
    #[must_use = "futures do nothing unless polled"]
    pub struct Tracked<F> {
        #[pin]
        future: F,
        entry: Entry,
    }
}

impl<F: Future> Future for Tracked<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _turn = this.entry.turn();
        this.future.poll(cx)
    }
}

impl<F> fmt::Debug for Tracked<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracked")
            .field("entry", &self.entry)
            .finish_non_exhaustive()
    }
}

// === the board ===

/// Slots of the first row; each row after it has twice as many.
const FIRST_ROW: usize = 64;
const ROWS: usize = 10;
/// Slots looked at in a row before the next one is tried. A row is then nearly full.
const PROBES: usize = 16;

static BOARD: LazyLock<Sharded<Shelf>> = LazyLock::new(|| {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Sharded::new(threads.min(64), Shelf::default)
});

/// The slots of one shard. Rows are made when they are needed, and never given back.
#[derive(Default)]
struct Shelf {
    rows: [OnceLock<Row>; ROWS],
    unseen: AtomicU64,
}

struct Row {
    slots: Box<[CachePadded<Slot>]>,
    /// Where one is likely to be free: the last that was left, or the one after the last claimed.
    free: AtomicUsize,
}

/// `turns` says whose it is: [`FREE`] anyone's who has the lock; from [`IDLE`] on its entry's, and odd
/// while the work runs.
#[derive(Debug, Default)]
struct Slot {
    turns: AtomicU64,
    thread: AtomicU32,
    /// Written once an entry, with `turns`, and so read: both are of the same entry.
    about: Mutex<Option<(u64, About)>>,
}

const FREE: u64 = 0;
const IDLE: u64 = 2;

#[derive(Debug)]
struct Place {
    slot: &'static Slot,
    free: &'static AtomicUsize,
    index: usize,
}

impl Drop for Place {
    #[inline]
    fn drop(&mut self) {
        self.slot.turns.store(FREE, Ordering::Release);
        self.free.store(self.index, Ordering::Relaxed);
    }
}

impl Shelf {
    fn enter(&'static self, mut about: About) -> Option<Place> {
        for (number, row) in self.rows.iter().enumerate() {
            let row = row.get_or_init(|| Row::new(FIRST_ROW << number));
            match row.claim(about) {
                Ok((slot, index)) => {
                    let free = &row.free;
                    return Some(Place { slot, free, index });
                }
                Err(back) => about = back,
            }
        }
        self.unseen.fetch_add(1, Ordering::Relaxed);
        None
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter_map(OnceLock::get)
    }

    fn seen(&self) -> Vec<Seen> {
        let slots = self.rows().flat_map(|row| row.slots.iter());
        slots.filter_map(|slot| slot.look()).collect()
    }
}

impl Row {
    fn new(slots: usize) -> Self {
        Self {
            slots: (0..slots).map(|_| CachePadded::default()).collect(),
            free: AtomicUsize::new(0),
        }
    }

    /// Gives `about` back where there is no room.
    #[inline]
    fn claim(&self, about: About) -> Result<(&Slot, usize), About> {
        let first = self.free.load(Ordering::Relaxed);
        for probe in 0..PROBES {
            // The length is a power of two.
            let index = first.wrapping_add(probe) & (self.slots.len() - 1);
            let slot = &self.slots[index];
            // Somebody else's lock is a claim or a look: either way another slot is as good.
            if slot.turns.load(Ordering::Relaxed) == FREE
                && let Some(mut place) = slot.about.try_lock()
                && slot.turns.load(Ordering::Acquire) == FREE
            {
                *place = Some((next_id(), about));
                slot.turns.store(IDLE, Ordering::Release);
                drop(place);
                self.free.store(index + 1, Ordering::Relaxed);
                return Ok((slot, index));
            }
        }
        // Not the same full stretch again.
        self.free
            .store(first.wrapping_add(PROBES), Ordering::Relaxed);
        Err(about)
    }
}

/// In blocks by thread, so that no counter is shared by every request.
#[inline]
fn next_id() -> u64 {
    const BLOCK: u64 = 1 << 16;
    static BLOCKS: AtomicU64 = AtomicU64::new(0);
    thread_local!(static NEXT: Cell<u64> = const { Cell::new(0) });
    NEXT.with(|next| {
        let id = match next.get() {
            id if id.is_multiple_of(BLOCK) => BLOCKS.fetch_add(BLOCK, Ordering::Relaxed) + 1,
            id => id,
        };
        next.set(id + 1);
        id
    })
}

impl Slot {
    fn runs(&self) -> bool {
        let turns = self.turns.load(Ordering::Relaxed);
        turns > IDLE && turns % 2 == 1
    }

    fn look(&self) -> Option<Seen> {
        if self.turns.load(Ordering::Relaxed) < IDLE {
            return None;
        }
        let place = self.about.lock();
        let turns = self.turns.load(Ordering::Acquire);
        if turns < IDLE {
            return None;
        }
        let (id, about) = place.clone()?;
        let running = turns % 2 == 1;
        Some(Seen {
            id,
            about,
            polls: (turns - IDLE).div_ceil(2),
            polled_by: running.then(|| self.thread.load(Ordering::Relaxed)),
        })
    }

    // Only the work's own thread writes these, so no swap is needed.

    #[inline]
    fn begin_turn(&self) {
        self.thread.store(this_thread(), Ordering::Relaxed);
        let turns = self.turns.load(Ordering::Relaxed);
        self.turns.store(turns + 1, Ordering::Relaxed);
    }

    #[inline]
    fn end_turn(&self) {
        let turns = self.turns.load(Ordering::Relaxed);
        self.turns.store(turns + 1, Ordering::Relaxed);
    }
}

/// The kernel's number of the calling thread.
#[inline]
fn this_thread() -> u32 {
    thread_local!(static HERE: Cell<u32> = const { Cell::new(0) });
    HERE.try_with(|here| {
        if here.get() == 0 {
            here.set(number());
        }
        here.get()
    })
    .unwrap_or(0)
}

#[cfg(target_os = "linux")]
fn number() -> u32 {
    rustix::thread::gettid()
        .as_raw_nonzero()
        .get()
        .unsigned_abs()
}

#[cfg(not(target_os = "linux"))]
fn number() -> u32 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Blocking, Group};
    use std::future::pending;

    fn named(name: &str) -> Vec<Seen> {
        let mut seen = all();
        seen.retain(|seen| seen.about.name == name);
        seen
    }

    #[tokio::test]
    async fn polls_are_counted_and_the_running_one_is_seen() {
        let mut work = Box::pin(track(Kind::Worker, "counted", async {
            assert!(named("counted")[0].polled_by.is_some());
            tokio::task::yield_now().await;
            pending::<()>().await;
        }));
        assert_eq!(named("counted")[0].polls, 0);
        for _ in 0..3 {
            let poll = |cx: &mut Context<'_>| Poll::Ready(work.as_mut().poll(cx).is_pending());
            assert!(std::future::poll_fn(poll).await);
        }
        let seen = &named("counted")[0];
        assert_eq!((seen.polls, seen.polled_by), (3, None));
        drop(work);
        assert!(named("counted").is_empty());
    }

    #[tokio::test]
    async fn a_poll_that_panics_has_ended() {
        let mut work = Box::pin(track(Kind::Worker, "panics", async {
            panic!("on purpose")
        }));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let poll = std::panic::AssertUnwindSafe(|| work.as_mut().poll(&mut cx));
        assert!(std::panic::catch_unwind(poll).is_err());
        assert_eq!(named("panics")[0].polled_by, None);
    }

    #[tokio::test]
    async fn tasks_of_named_groups_and_closures_of_pools_are_on_the_board() {
        let mut group = Group::<(), ()>::new().named("board");
        group.spawn_named("waits", pending());
        let seen = &named("waits")[0];
        assert_eq!(seen.about.group.as_deref(), Some("board"));
        let started = seen.about.started.expect("groups tell it");
        assert!(started.file().ends_with("tasks.rs"));
        drop(group);
        tokio::task::yield_now().await;
        assert!(named("waits").is_empty());

        let pool = Blocking::new("board-pool", 1, 1).unwrap();
        let seen = pool.run("closure", |_| named("closure")).await.unwrap();
        assert_eq!(seen[0].about.group.as_deref(), Some("board-pool"));
        assert!(seen[0].polled_by.is_some());
    }

    #[test]
    fn what_finds_no_room_is_counted_and_what_leaves_makes_room() {
        let shelf: &'static Shelf = Box::leak(Box::default());
        let about = || About::new(Kind::Task, "many", Instant::now());
        let mut places = Vec::new();
        while let Some(place) = shelf.enter(about()) {
            places.push(place);
        }
        let room: usize = (0..ROWS).map(|row| FIRST_ROW << row).sum();
        assert!(places.len() > room / 2, "{}", places.len());
        assert_eq!(shelf.unseen.load(Ordering::Relaxed), 1);
        let seen = shelf.seen();
        let ids: std::collections::HashSet<u64> = seen.iter().map(|seen| seen.id).collect();
        assert_eq!((seen.len(), ids.len()), (places.len(), places.len()));
        places.pop();
        assert!(shelf.enter(about()).is_some());
    }

    #[test]
    fn a_reader_never_mixes_two_entries() {
        let threads = 3;
        let rounds = if cfg!(debug_assertions) {
            2_000
        } else {
            20_000
        };
        std::thread::scope(|scope| {
            let work = |thread: u128| {
                move || {
                    for round in 0..rounds {
                        let mut about = About::new(Kind::Task, "mixed", Instant::now());
                        about.trace = (thread << 64) | round;
                        about.group = Some(format!("{thread} {round}").into());
                        let entry = enter(about);
                        drop(entry.turn());
                    }
                }
            };
            let writers: Vec<_> = (1..=threads).map(|t| scope.spawn(work(t))).collect();
            while writers.iter().any(|writer| !writer.is_finished()) {
                for seen in named("mixed") {
                    let (thread, round) = (seen.about.trace >> 64, seen.about.trace as u64);
                    assert_eq!(
                        seen.about.group.as_deref(),
                        Some(&*format!("{thread} {round}"))
                    );
                    assert!(seen.polls <= 1);
                }
            }
            writers
                .into_iter()
                .for_each(|writer| writer.join().unwrap());
        });
        assert!(named("mixed").is_empty());
    }
}
