//! How a task of a group ends when it does not succeed.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Which task of a group: the how manieth that was spawned, and the names that were given to it and
/// to its group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TaskId {
    /// Tasks are counted from 0 in the order in which they were spawned.
    pub index: usize,
    /// From [`Group::spawn_named`](super::Group::spawn_named).
    pub name: Option<Cow<'static, str>>,
    /// From [`Group::named`](super::Group::named).
    pub group: Option<Arc<str>>,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {}", self.index)?;
        if let Some(name) = &self.name {
            write!(f, " ({name})")?;
        }
        if let Some(group) = &self.group {
            write!(f, " of group `{group}`")?;
        }
        Ok(())
    }
}

/// Why a task has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskError<E> {
    /// It returned an error.
    #[error(transparent)]
    Failed(E),
    /// It panicked.
    #[error("panicked: {message}")]
    Panicked {
        /// What the panic said.
        message: String,
    },
    /// It was ended before it was done: another task had failed, or the group was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// It was ended because the group's time was up.
    #[error("not done at the group's deadline")]
    DeadlineExceeded,
}

/// A task without a result, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure<E> {
    /// Which one.
    pub task: TaskId,
    /// Why.
    pub error: TaskError<E>,
}

impl<E: fmt::Display> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.task, self.error)
    }
}

// For any error that can be shown, a `String` or a boxed one, too. Its message holds theirs; who wants
// the chain behind it takes the field.
impl<E: fmt::Display + fmt::Debug> Error for Failure<E> {}

/// Why a group takes no more tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// A task failed, or the group or one around it was cancelled.
    #[error("the group is cancelled; join it to learn why")]
    Cancelled,
    /// The group's time is up.
    #[error("the group's deadline has passed")]
    DeadlineExceeded,
}

impl<E> From<Stopped> for TaskError<E> {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Cancelled => Self::Cancelled,
            Stopped::DeadlineExceeded => Self::DeadlineExceeded,
        }
    }
}
