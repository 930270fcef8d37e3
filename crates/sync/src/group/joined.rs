//! What a group's tasks came to.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::{Failure, TaskId};

pub(super) type Names = HashMap<usize, Cow<'static, str>>;

/// The outcome of a whole group: read it in the way that fits.
///
/// - [`all`](Self::all): every result, or the first failure;
/// - [`results`](Self::results): each task's own, collected;
/// - [`split`](Self::split): what succeeded and, apart and named, what failed.
#[derive(Debug)]
#[must_use = "failures are in here"]
pub struct Joined<T, E> {
    /// In the order of the indices.
    pub(super) succeeded: Vec<(usize, T)>,
    pub(super) failed: Vec<Failure<E>>,
    pub(super) first_failed: Option<usize>,
    pub(super) names: Names,
    pub(super) group: Option<Arc<str>>,
}

/// Results as they come. With a slot for each task nothing has to be sorted; a group whose results
/// were taken one by one has spawned far more than are alive, and gets none for those.
pub(super) enum Succeeded<T> {
    Slots(Vec<Option<T>>),
    Pairs(Vec<(usize, T)>),
}

impl<T> Succeeded<T> {
    pub(super) fn new(spawned: usize, alive: usize) -> Self {
        if spawned / 2 > alive {
            return Self::Pairs(Vec::new());
        }
        let mut slots = Vec::new();
        slots.resize_with(spawned, || None);
        Self::Slots(slots)
    }

    pub(super) fn insert(&mut self, index: usize, value: T) {
        match self {
            Self::Slots(slots) => slots[index] = Some(value),
            Self::Pairs(pairs) => pairs.push((index, value)),
        }
    }

    pub(super) fn in_order(self) -> Vec<(usize, T)> {
        match self {
            Self::Slots(slots) => {
                let slots = slots.into_iter().enumerate();
                let filled = slots.filter_map(|(index, value)| Some((index, value?)));
                filled.collect()
            }
            Self::Pairs(mut pairs) => {
                pairs.sort_unstable_by_key(|(index, _)| *index);
                pairs
            }
        }
    }
}

impl<T, E> Joined<T, E> {
    /// The results in the order in which the tasks were spawned.
    ///
    /// # Errors
    /// The failure that came first, rather than what it cancelled.
    pub fn all(mut self) -> Result<Vec<T>, Failure<E>> {
        if self.failed.is_empty() {
            let values = self.succeeded.into_iter().map(|(_, value)| value);
            return Ok(values.collect());
        }
        let first = self.first_failed;
        let at = self.failed.iter().position(|f| Some(f.task.index) == first);
        Err(self.failed.swap_remove(at.unwrap_or(0)))
    }

    /// Each task's result in the order in which they were spawned.
    #[must_use]
    pub fn results(self) -> Vec<Result<T, Failure<E>>> {
        let succeeded = self.succeeded.into_iter();
        let mut all: Vec<(usize, Result<T, Failure<E>>)> =
            succeeded.map(|(index, value)| (index, Ok(value))).collect();
        let failed = self.failed.into_iter();
        all.extend(failed.map(|failure| (failure.task.index, Err(failure))));
        all.sort_by_key(|(index, _)| *index);
        all.into_iter().map(|(_, result)| result).collect()
    }

    /// What succeeded, in the order in which it was spawned, and what failed, in the order in which
    /// it ended: for an answer that goes out without its missing parts, and says which they are.
    ///
    /// ```
    /// use seawall_sync::Group;
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let mut group = Group::new().keep_going();
    /// group.spawn_named("price", async { Ok(12) });
    /// group.spawn_named("reviews", async { Err("unavailable") });
    /// let (parts, missing) = group.join().await.split();
    /// assert_eq!(parts[0].1, 12);
    /// assert_eq!(missing[0].to_string(), "task 1 (reviews): unavailable");
    /// # });
    /// ```
    #[must_use]
    pub fn split(self) -> (Vec<(TaskId, T)>, Vec<Failure<E>>) {
        let mut names = self.names;
        let group = self.group;
        let named = self.succeeded.into_iter().map(|(index, value)| {
            let (name, group) = (names.remove(&index), group.clone());
            (TaskId { index, name, group }, value)
        });
        (named.collect(), self.failed)
    }

    /// What failed so far, in the order in which it ended.
    #[must_use]
    pub fn failures(&self) -> &[Failure<E>] {
        &self.failed
    }
}
