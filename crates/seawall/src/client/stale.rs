//! Earlier answers, for when there is no other.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use pin_project_lite::pin_project;

use super::coalesce::is_personal;
use super::key::Key;
use super::whole::Whole;
use crate::Tick;

/// An answer that is younger is not worth keeping anew.
const FRESH: Duration = Duration::from_secs(1);

/// Keeps the last good answer to each read, within a bound in bytes.
///
/// Only answers of status 200 without `set-cookie` and `cache-control: no-store`, each at most an
/// eighth of the bound; the answer that was first kept the longest ago goes first. A read that
/// succeeds takes a lock twice and copies nothing but what comes in several frames.
///
/// ```
/// use seawall::client::StaleStore;
///
/// let store = StaleStore::new(64 * 1024 * 1024);
/// assert_eq!(store.bytes(), 0);
/// ```
#[derive(Debug)]
pub struct StaleStore {
    bound: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    answers: HashMap<Key, Answer>,
    order: VecDeque<Key>,
    bytes: usize,
}

#[derive(Debug)]
struct Answer {
    whole: Arc<(Parts, Whole)>,
    at: Tick,
    size: usize,
}

impl StaleStore {
    /// Keeps at most about so many bytes, keys and headers included.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self {
            bound,
            kept: Mutex::default(),
        }
    }

    /// Bytes that are kept.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.kept.lock().bytes
    }

    /// The answer to `key`, and how old it is.
    pub(super) fn get(&self, key: &Key, now: Tick) -> Option<(Arc<(Parts, Whole)>, Duration)> {
        let kept = self.kept.lock();
        let answer = kept.answers.get(key)?;
        Some((answer.whole.clone(), now.since(answer.at)))
    }

    /// Whether an answer with this head is to be kept.
    fn wants<R>(&self, key: &Key, reply: &Response<R>, now: Tick) -> bool {
        let right = reply.status() == StatusCode::OK && !is_personal(reply.headers());
        right && self.get(key, now).is_none_or(|(_, age)| age >= FRESH)
    }

    fn put(&self, key: Key, parts: Parts, whole: Whole, now: Tick) {
        let headers = parts.headers.iter();
        let headers: usize = headers.map(|(n, v)| n.as_str().len() + v.len() + 64).sum();
        let size = key.size() * 2 + headers + whole.data.len() + 256;
        if size > self.bound / 8 {
            return;
        }
        let answer = Answer {
            whole: Arc::new((parts, whole)),
            at: now,
            size,
        };
        let mut kept = self.kept.lock();
        kept.bytes += size;
        match kept.answers.insert(key.clone(), answer) {
            Some(before) => kept.bytes -= before.size,
            None => kept.order.push_back(key),
        }
        while kept.bytes > self.bound
            && let Some(oldest) = kept.order.pop_front()
        {
            let size = kept.answers.remove(&oldest).map_or(0, |answer| answer.size);
            kept.bytes -= size;
        }
    }
}

/// An answer on its way to be kept.
#[derive(Debug)]
pub(super) struct Keeping {
    store: Arc<StaleStore>,
    key: Key,
    at: Tick,
    parts: Parts,
    data: BytesMut,
    first: Bytes,
    trailers: Option<HeaderMap>,
}

impl Keeping {
    pub(super) fn of<R>(
        store: &Arc<StaleStore>,
        key: Key,
        reply: &Response<R>,
        now: Tick,
    ) -> Option<Self> {
        store.wants(&key, reply, now).then(|| {
            let (mut parts, ()) = Response::new(()).into_parts();
            parts.status = reply.status();
            parts.version = reply.version();
            parts.headers = reply.headers().clone();
            Self {
                store: store.clone(),
                key,
                at: now,
                parts,
                data: BytesMut::new(),
                first: Bytes::new(),
                trailers: None,
            }
        })
    }

    /// Whether there is room for the rest.
    fn took(&mut self, frame: &Frame<Bytes>) -> bool {
        if let Some(data) = frame.data_ref() {
            if self.first.is_empty() && self.data.is_empty() {
                self.first = data.clone();
            } else {
                if self.data.is_empty() {
                    self.data
                        .extend_from_slice(&std::mem::take(&mut self.first));
                }
                self.data.extend_from_slice(data);
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            self.trailers = Some(trailers.clone());
        }
        self.first.len().max(self.data.len()) <= self.store.bound / 8
    }

    fn done(self) {
        let data = if self.data.is_empty() {
            self.first
        } else {
            self.data.freeze()
        };
        let trailers = self.trailers;
        self.store
            .put(self.key, self.parts, Whole { data, trailers }, self.at);
    }
}

pin_project! {
    /// A body that is kept as it passes.
    #[derive(Debug)]
    pub struct Teed<B> {
        #[pin]
        body: B,
        keeping: Option<Box<Keeping>>,
    }
}

impl<B: Body> Teed<B> {
    pub(super) fn new(body: B, mut keeping: Option<Box<Keeping>>) -> Self {
        if body.is_end_stream()
            && let Some(keeping) = keeping.take()
        {
            keeping.done();
        }
        Self { body, keeping }
    }
}

impl<B: Body<Data = Bytes>> Body for Teed<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        if let Some(mut keeping) = this.keeping.take() {
            match &frame {
                Some(Ok(frame)) if !keeping.took(frame) => {}
                Some(Ok(_)) if this.body.is_end_stream() => keeping.done(),
                Some(Ok(_)) => *this.keeping = Some(keeping),
                Some(Err(_)) => {}
                None => keeping.done(),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
