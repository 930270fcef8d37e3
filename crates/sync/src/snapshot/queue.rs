//! Changes that wait to be applied together.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::primitives::Mutex;

type Change<T> = Box<dyn Fn(&mut T) + Send>;

/// Names a change to who handed it in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct ChangeId(u64);

struct Waiting<T> {
    next: u64,
    changes: Vec<(ChangeId, Change<T>)>,
    /// Of changes that were applied for another thread; each is taken by its owner.
    panics: Vec<(ChangeId, Box<dyn Any + Send>)>,
}

pub(super) struct Queue<T>(Mutex<Waiting<T>>);

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self(Mutex::new(Waiting {
            next: 0,
            changes: Vec::new(),
            panics: Vec::new(),
        }))
    }
}

impl<T> Queue<T> {
    pub(super) fn push(&self, change: impl Fn(&mut T) + Send + 'static) -> ChangeId {
        let mut waiting = self.0.lock();
        let id = ChangeId(waiting.next);
        waiting.next += 1;
        waiting.changes.push((id, Box::new(change)));
        id
    }

    /// Panics with the panic of that change, if it had one.
    pub(super) fn answer(&self, id: ChangeId) {
        let mut waiting = self.0.lock();
        let found = waiting.panics.iter().position(|(of, _)| *of == id);
        let panic = found.map(|at| waiting.panics.swap_remove(at).1);
        drop(waiting);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl<T: Clone> Queue<T> {
    /// A copy of `value` with all that waits applied to it; `None` where nothing waits.
    pub(super) fn apply(&self, value: &T) -> Option<T> {
        let mut changes = std::mem::take(&mut self.0.lock().changes);
        while !changes.is_empty() {
            let mut next = match catch_unwind(AssertUnwindSafe(|| value.clone())) {
                Ok(next) => next,
                Err(panic) => {
                    // Others wait for theirs, and one of them will try again.
                    self.0.lock().changes.splice(0..0, changes);
                    resume_unwind(panic);
                }
            };
            let failed = changes.iter().enumerate().find_map(|(at, (_, change))| {
                // A copy that a panic has left half changed is thrown away.
                catch_unwind(AssertUnwindSafe(|| change(&mut next)))
                    .err()
                    .map(|panic| (at, panic))
            });
            let Some((at, panic)) = failed else {
                return Some(next);
            };
            let (id, _) = changes.remove(at);
            self.0.lock().panics.push((id, panic));
        }
        None
    }
}
