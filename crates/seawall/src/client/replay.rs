//! A request's body that can be sent again.
//!
//! Frames are kept as they are first read, so nothing waits for a body to be whole. Every copy
//! reads from the frames at its own place, and whoever comes to their end pulls the next. When more
//! than the limit has come, what was kept is let go and the copy that reads goes on alone: the
//! call is then not sent again.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tower::{Layer, Service};

use super::error::Error;

/// How much of a body is kept, unless said otherwise: 64 KiB.
pub const REPLAY_LIMIT: usize = 64 * 1024;

/// Makes requests' bodies such as [`RetryLayer`](super::RetryLayer),
/// [`HedgeLayer`](super::HedgeLayer) and [`FallbackLayer`](super::FallbackLayer) can send again.
///
/// A request without a body costs a look at it; any other an allocation, and its frames' reference
/// counts.
#[derive(Clone, Copy, Debug)]
pub struct ReplayLayer {
    limit: usize,
}

impl ReplayLayer {
    /// Keeps bodies of up to so many bytes.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { limit }
    }
}

impl Default for ReplayLayer {
    fn default() -> Self {
        Self::new(REPLAY_LIMIT)
    }
}

impl<S> Layer<S> for ReplayLayer {
    type Service = ReplayService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ReplayService {
            inner,
            limit: self.limit,
        }
    }
}

/// A service below a [`ReplayLayer`].
#[derive(Clone, Debug)]
pub struct ReplayService<S> {
    inner: S,
    limit: usize,
}

impl<S, B> Service<Request<B>> for ReplayService<S>
where
    S: Service<Request<Replay<B>>>,
    B: Body<Data = Bytes> + Unpin,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let request = request.map(|body| Replay::new(body, self.limit));
        self.inner.call(request)
    }
}

/// A body that can be sent again while no more than a stated size of it has been read.
///
/// ```
/// use seawall::client::{Body, Replay};
///
/// let body = Replay::new(Body::from("four"), 4);
/// assert!(body.can_replay());
/// assert!(!Replay::new(Body::from("eleven"), 4).can_replay());
/// ```
#[derive(Debug)]
pub struct Replay<B> {
    shared: Option<Arc<Mutex<Shared<B>>>>,
    /// Frames that this copy has given.
    at: usize,
    /// Bytes that this copy has given.
    given: u64,
    /// Reads what nobody keeps.
    alone: bool,
    trailed: bool,
    hint: SizeHint,
}

#[derive(Debug)]
struct Shared<B> {
    body: B,
    frames: Vec<Bytes>,
    trailers: Option<HeaderMap>,
    kept: usize,
    limit: usize,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Reading,
    Whole,
    /// Frames were let go, or the body failed.
    Lost,
}

impl<B: Body<Data = Bytes> + Unpin> Replay<B> {
    /// Keeps up to `limit` bytes of `body`.
    pub fn new(body: B, limit: usize) -> Self {
        let hint = body.size_hint();
        let shared = (!body.is_end_stream()).then(|| {
            let too_large = hint.lower() > limit as u64;
            Arc::new(Mutex::new(Shared {
                body,
                frames: Vec::new(),
                trailers: None,
                kept: 0,
                limit,
                stage: if too_large {
                    Stage::Lost
                } else {
                    Stage::Reading
                },
            }))
        });
        let alone = shared
            .as_ref()
            .is_some_and(|s| s.lock().stage == Stage::Lost);
        Self {
            shared,
            at: 0,
            given: 0,
            alone,
            trailed: false,
            hint,
        }
    }
}

impl<B> Replay<B> {
    /// The same body from its beginning; where that is [gone](Self::can_replay), one that fails.
    #[must_use]
    pub fn again(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            at: 0,
            given: 0,
            alone: false,
            trailed: false,
            hint: self.hint,
        }
    }

    /// Whether it can be sent again.
    #[must_use]
    pub fn can_replay(&self) -> bool {
        self.is(|stage| stage != Stage::Lost)
    }

    /// Whether all of it is there, so that two can read it at once.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is(|stage| stage == Stage::Whole)
    }

    fn is(&self, stage: impl FnOnce(Stage) -> bool) -> bool {
        let shared = self.shared.as_ref();
        shared.is_none_or(|shared| stage(shared.lock().stage))
    }
}

impl<B> Shared<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Error>,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(Ok(frame)),
            Some(Err(error)) => {
                self.lose();
                Some(Err(error.into()))
            }
            None => {
                if self.stage == Stage::Reading {
                    self.stage = Stage::Whole;
                }
                None
            }
        })
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            self.kept += data.len();
            if self.kept > self.limit {
                return self.lose();
            }
            self.frames.push(data.clone());
            if self.body.is_end_stream() {
                self.stage = Stage::Whole;
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            self.trailers = Some(trailers.clone());
            self.stage = Stage::Whole;
        }
    }

    fn lose(&mut self) {
        self.stage = Stage::Lost;
        self.frames = Vec::new();
    }
}

impl<B> Body for Replay<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Error>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        let Some(shared) = &this.shared else {
            return Poll::Ready(None);
        };
        let mut shared = shared.lock();
        if this.alone {
            return shared.poll(cx);
        }
        if let Some(frame) = shared.frames.get(this.at) {
            this.at += 1;
            this.given += frame.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(frame.clone()))));
        }
        match shared.stage {
            Stage::Lost => {
                let gone = "a body that is gone was to be sent again";
                return Poll::Ready(Some(Err(Error::failed(gone))));
            }
            Stage::Whole => {
                let trailers = shared.trailers.as_ref().filter(|_| !this.trailed).cloned();
                this.trailed = true;
                return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
            }
            Stage::Reading => {}
        }
        let frame = ready!(shared.poll(cx));
        if let Some(Ok(frame)) = &frame {
            shared.keep(frame);
            this.alone = shared.stage == Stage::Lost;
            this.at += usize::from(frame.is_data());
            this.given += frame.data_ref().map_or(0, |data| data.len() as u64);
            this.trailed |= frame.is_trailers();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let Some(shared) = &self.shared else {
            return true;
        };
        let shared = shared.lock();
        let all = shared.stage == Stage::Whole && self.at == shared.frames.len();
        all && (self.trailed || shared.trailers.is_none())
            || self.alone && shared.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.alone
            && let Some(shared) = &self.shared
        {
            return shared.lock().body.size_hint();
        }
        match self.hint.exact() {
            Some(size) => SizeHint::with_exact(size.saturating_sub(self.given)),
            None => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::task::Waker;

    /// Frames, and then the end.
    #[derive(Debug)]
    struct Frames(VecDeque<Frame<Bytes>>);

    impl Body for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(Ok))
        }
    }

    /// Reads up to so many frames: their bytes and whether trailers came; an error is `None`.
    fn read(body: &mut Replay<Frames>, most: usize) -> Option<(Vec<u8>, bool)> {
        let (mut bytes, mut trailed) = (Vec::new(), false);
        for _ in 0..most {
            let mut cx = Context::from_waker(Waker::noop());
            let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(&mut cx) else {
                panic!("nothing here is pending");
            };
            match frame {
                None => break,
                Some(frame) => match frame.ok()?.into_data() {
                    Ok(data) => bytes.extend_from_slice(&data),
                    Err(_) => trailed = true,
                },
            }
        }
        Some((bytes, trailed))
    }

    proptest! {
        #[test]
        fn every_copy_is_the_body_or_none_is(
            frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 0..9),
            trailers: bool,
            limit in 0_usize..80,
            reads in proptest::collection::vec(0_usize..9, 1..5),
        ) {
            let whole = frames.concat();
            let data = frames.into_iter().map(|frame| Frame::data(frame.into()));
            let end = trailers.then(|| Frame::trailers(HeaderMap::new()));
            let mut first = Replay::new(Frames(data.chain(end).collect()), limit);
            // Attempts that are given up half way, and then one that is not.
            for most in reads {
                let mut copy = first.again();
                match read(&mut copy, most) {
                    Some((bytes, _)) => prop_assert!(whole.starts_with(&bytes)),
                    None => prop_assert!(!first.can_replay()),
                }
                if !first.can_replay() {
                    break;
                }
            }
            if !first.can_replay() {
                prop_assert!(whole.len() > limit);
                prop_assert_eq!(read(&mut first, 99), None);
            } else {
                prop_assert_eq!(read(&mut first, 99), Some((whole.clone(), trailers)));
                prop_assert_eq!(first.can_replay(), whole.len() <= limit);
                prop_assert_eq!(first.is_whole(), whole.len() <= limit);
                if first.can_replay() {
                    prop_assert!(first.is_end_stream());
                    prop_assert_eq!(read(&mut first.again(), 99), Some((whole, trailers)));
                }
            }
        }
    }

    #[test]
    fn a_length_that_is_told_is_told_again() {
        let mut body = Replay::new(crate::client::Body::from("four"), 100);
        assert_eq!(body.size_hint().exact(), Some(4));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut body).poll_frame(&mut cx).is_ready());
        assert_eq!(body.size_hint().exact(), Some(0));
        assert_eq!(body.again().size_hint().exact(), Some(4));
        assert!(body.is_whole() && body.is_end_stream());
    }

    #[test]
    fn one_known_to_be_too_large_is_read_once() {
        let body = Replay::new(crate::client::Body::from("four"), 3);
        assert!(!body.can_replay());
        let mut cx = Context::from_waker(Waker::noop());
        let mut again = body.again();
        let frame = Pin::new(&mut again).poll_frame(&mut cx);
        assert!(matches!(frame, Poll::Ready(Some(Err(_)))));
    }
}
