//! Calls and attempts by slot and generation, so that an event that comes too late finds nothing.

use std::time::Duration;

use super::client::Reply;
use super::host::{AttemptId, Job};

/// A call: its slot and the generation that makes it unique.
pub(super) type CallId = (u32, u32);

#[derive(Debug)]
pub(super) struct CallState {
    pub(super) caller: u32,
    /// The attempt at the tier above that waits for this call.
    pub(super) parent: Option<AttemptId>,
    pub(super) began: u64,
    pub(super) deadline: u64,
    /// The seed of what it costs, wherever it is worked on.
    pub(super) luck: u64,
    pub(super) tried: Vec<u32>,
    /// Attempts under way.
    pub(super) live: Vec<AttemptId>,
    /// Another attempt is decided upon and waits for its time.
    pub(super) waiting: bool,
    /// Retries above.
    pub(super) attempt: u8,
    pub(super) waited: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Travelling,
    /// Waiting or worked on at its host.
    Present,
    /// Its host waits for the next tier.
    Below(CallId),
    /// Nothing will ever come back.
    Lost,
    Returning,
}

#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) call: CallId,
    pub(super) host: u32,
    pub(super) sent: u64,
    pub(super) luck: u64,
    pub(super) deadline: u64,
    /// Retries that led to it, here and above.
    pub(super) number: u8,
    pub(super) state: State,
    /// Nobody waits for it any more.
    pub(super) orphan: bool,
    /// Once its own host's work is done.
    pub(super) job: Option<Job>,
    pub(super) reply: Option<Reply>,
}

#[derive(Debug)]
pub(super) struct Slab<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slab<T> {
    pub(super) fn insert(&mut self, value: T) -> (u32, u32) {
        if let Some(slot) = self.free.pop() {
            let entry = &mut self.slots[slot as usize];
            entry.1 = Some(value);
            return (slot, entry.0);
        }
        self.slots.push((0, Some(value)));
        ((self.slots.len() - 1) as u32, 0)
    }

    pub(super) fn get(&self, (slot, generation): (u32, u32)) -> Option<&T> {
        let entry = self.slots.get(slot as usize)?;
        entry.1.as_ref().filter(|_| entry.0 == generation)
    }

    pub(super) fn get_mut(&mut self, (slot, generation): (u32, u32)) -> Option<&mut T> {
        let entry = self.slots.get_mut(slot as usize)?;
        entry.1.as_mut().filter(|_| entry.0 == generation)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = ((u32, u32), &T)> {
        let entries = self.slots.iter().enumerate();
        entries
            .filter_map(|(i, (generation, value))| Some(((i as u32, *generation), value.as_ref()?)))
    }

    pub(super) fn remove(&mut self, (slot, generation): (u32, u32)) -> Option<T> {
        let entry = self.slots.get_mut(slot as usize)?;
        if entry.0 != generation {
            return None;
        }
        let value = entry.1.take()?;
        entry.0 = entry.0.wrapping_add(1);
        self.free.push(slot);
        Some(value)
    }
}
