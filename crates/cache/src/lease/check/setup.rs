//! What is tried: who reads, who writes, what befalls them.

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

/// The setups that are tried: every kind of reader and writer, an expiry, a lost channel and a crash.
/// `deep` adds those that take minutes.
#[must_use]
pub fn setups(deep: bool) -> Vec<Setup> {
    use Reader::{Strong, Weak};
    use Writer::{Aside, Nobody, Plain, Through};

    let together = [(0, Strong), (0, Strong)];
    let apart = [(0, Strong), (1, Strong)];
    let mixed = [(0, Strong), (1, Weak)];
    let mut setups = Vec::new();
    let mut add = |readers, writers, [time, losses, crashes]: [u8; 3]| {
        setups.extend([false, true].map(|warm| Setup {
            readers,
            writers,
            warm,
            time,
            losses,
            crashes,
            fault: None,
        }));
    };
    add(mixed, [Plain, Nobody], [4, 1, 0]);
    add(together, [Nobody, Plain], [2, 1, 0]);
    add(together, [Through, Nobody], [2, 0, 0]);
    add(apart, [Nobody, Aside], [2, 0, 1]);
    add(apart, [Nobody, Through], [2, 0, 1]);
    if deep {
        for writers in [
            [Plain, Plain],
            [Plain, Aside],
            [Plain, Through],
            [Through, Through],
        ] {
            add(mixed, writers, [1, 0, 0]);
            add(mixed, writers, [0, 1, 0]);
            add(mixed, writers, [0, 0, 1]);
            add(together, writers, [1, 0, 0]);
        }
    } else {
        add(mixed, [Plain, Through], [0, 0, 0]);
    }
    setups
}
