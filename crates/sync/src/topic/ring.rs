//! What a topic holds: the messages that somebody has yet to read, and where each reader is.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{RecvError, WhenBehind};

/// Where a reader is.
struct Cursor {
    /// The number of the message it reads next.
    next: u64,
    /// The most messages it may have unread.
    lag: u64,
    when_behind: WhenBehind,
    /// Dropped before it read them, and not yet told.
    missed: u64,
    /// It fell behind: how many messages it had not read.
    disconnected: Option<u64>,
}

impl Cursor {
    /// The first message that is kept for it.
    fn needs(&self) -> Option<u64> {
        self.disconnected.is_none().then_some(self.next)
    }
}

/// Names a cursor.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReaderId(usize);

pub(super) struct Ring<T> {
    /// From number `first` on. Between calls, some reader needs `first`, or there is no message.
    messages: VecDeque<Arc<T>>,
    first: u64,
    readers: Vec<Option<Cursor>>,
    pub(super) closed: bool,
}

/// Messages that nobody needs any more, to be dropped when no lock is held: what they do in their
/// destructors is not ours to know.
pub(super) type Released<T> = Vec<Arc<T>>;

impl<T> Ring<T> {
    pub(super) fn new() -> Self {
        Self {
            messages: VecDeque::new(),
            first: 0,
            readers: Vec::new(),
            closed: false,
        }
    }

    fn end(&self) -> u64 {
        self.first + self.messages.len() as u64
    }

    pub(super) fn add(&mut self, lag: usize, when_behind: WhenBehind) -> ReaderId {
        let cursor = Cursor {
            next: self.end(),
            lag: lag.max(1) as u64,
            when_behind,
            missed: 0,
            disconnected: None,
        };
        let free = self.readers.iter().position(Option::is_none);
        let place = free.unwrap_or_else(|| {
            self.readers.push(None);
            self.readers.len() - 1
        });
        self.readers[place] = Some(cursor);
        ReaderId(place)
    }

    pub(super) fn remove(&mut self, reader: ReaderId) -> Released<T> {
        self.readers[reader.0] = None;
        self.release()
    }

    /// Whether no reader that is to be waited for is at its lag.
    pub(super) fn has_room(&self) -> bool {
        let end = self.end();
        !self
            .readers
            .iter()
            .flatten()
            .any(|reader| reader.when_behind == WhenBehind::Wait && end - reader.next >= reader.lag)
    }

    /// Adds a message, once there is [room](Self::has_room). Returns for how many readers.
    pub(super) fn push(&mut self, message: T) -> (usize, Released<T>) {
        let (end, mut readers) = (self.end(), 0);
        for reader in self.readers.iter_mut().flatten() {
            if reader.disconnected.is_some() {
                continue;
            }
            if end - reader.next >= reader.lag {
                if reader.when_behind == WhenBehind::Disconnect {
                    reader.disconnected = Some(end - reader.next);
                    continue;
                }
                reader.next += 1;
                reader.missed += 1;
            }
            readers += 1;
        }
        self.messages.push_back(Arc::new(message));
        (readers, self.release())
    }

    /// The next message of this reader, if there is one.
    pub(super) fn take(&mut self, reader: ReaderId) -> Result<Option<Arc<T>>, RecvError> {
        let (first, end) = (self.first, self.end());
        let Some(cursor) = &mut self.readers[reader.0] else {
            return Err(RecvError::Closed);
        };
        if let Some(unread) = cursor.disconnected {
            return Err(RecvError::Disconnected { unread });
        }
        if cursor.missed > 0 {
            let missed = std::mem::take(&mut cursor.missed);
            return Err(RecvError::Missed { missed });
        }
        if cursor.next == end {
            return if self.closed {
                Err(RecvError::Closed)
            } else {
                Ok(None)
            };
        }
        let next = cursor.next;
        cursor.next += 1;
        if next == first && !self.is_needed(first) {
            self.first += 1;
            // The next one is needed by this reader, so there is nothing else to release.
            return Ok(self.messages.pop_front());
        }
        Ok(self.messages.get((next - first) as usize).cloned())
    }

    /// How many messages a reader has not read.
    pub(super) fn behind(&self, reader: ReaderId) -> u64 {
        let cursor = self.readers[reader.0].as_ref();
        cursor
            .and_then(Cursor::needs)
            .map_or(0, |next| self.end() - next)
    }

    pub(super) fn readers(&self) -> usize {
        let connected = self.readers.iter().flatten().filter_map(Cursor::needs);
        connected.count()
    }

    /// Messages held.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    fn is_needed(&self, message: u64) -> bool {
        let mut needs = self.readers.iter().flatten().filter_map(Cursor::needs);
        needs.any(|next| next <= message)
    }

    fn release(&mut self) -> Released<T> {
        let needs = self.readers.iter().flatten().filter_map(Cursor::needs);
        let keep = needs.min().unwrap_or(self.end());
        let unneeded = (keep - self.first) as usize;
        self.first = keep;
        self.messages.drain(..unneeded).collect()
    }
}
