//! One call to the upstream, and all who wait for it.
//!
//! A [`Flight`] is what a fill and its waiters share: first the head, by which each decides whether
//! the answer is for it, then the bytes as they come. Its first waiter also gets what cannot be
//! shared; the others are let go at once then. It is left when nobody waits any more and no head has
//! come: work that nobody waits for is not done.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::Response;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use seawall_cache::http::Selected;
use slab::Slab;

use super::page::Head;
use super::store::Generation;
use crate::body::{BodyError, ResponseBody};
use crate::client::Busy;
use crate::exchange::Exchange;
use crate::stall::{Handed, PIECE};

const SHARDS: usize = 16;

/// What is being fetched, by where it would be kept.
#[derive(Debug)]
pub(super) struct Flights([Mutex<HashMap<u64, Arc<Flight>>>; SHARDS]);

impl Default for Flights {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

/// What two requests have in common that may wait for one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) place: u64,
    pub(super) key: Box<[u8]>,
    /// What is known to tell requests apart.
    pub(super) selected: Option<Selected>,
    /// Who asks is known: what they are told is seldom for others.
    pub(super) known: bool,
    pub(super) generation: Generation,
}

#[derive(Debug)]
pub(super) struct Flight {
    question: Question,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    turn: Option<Turned>,
    /// Who waits, for the head or for bytes.
    waiters: Slab<Option<Waker>>,
    filler: Option<Waker>,
    chunks: Vec<Bytes>,
    end: Option<End>,
    /// For the first waiter alone.
    own: Option<Response<ResponseBody>>,
    rest: Option<Box<Exchange>>,
    first_left: bool,
    too_long: bool,
}

/// What it came to.
#[derive(Clone, Debug)]
enum Turned {
    /// A response that is kept.
    Kept(Arc<Head>, Source),
    /// Nothing that is shared; whether the upstream failed.
    Released(bool),
}

/// Where its body is.
#[derive(Clone, Debug)]
enum Source {
    Whole(Bytes),
    /// Of this length, and coming; `None`: of a length that is not known, and may yet be too long.
    Coming(Option<u64>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Whole,
    Broke,
}

/// What a waiter is told.
#[derive(Debug)]
pub(super) enum Turn {
    /// A response that is kept, with its body,
    Page(Arc<Head>, Bytes),
    /// or with one that comes, of this length.
    Coming(Arc<Head>, Option<u64>),
    /// The first one's own.
    Own(Response<ResponseBody>, bool),
    /// Nothing; whether the upstream failed.
    Released(bool),
}

/// What comes next of a body.
#[derive(Debug)]
pub(crate) enum Chunk {
    Bytes(Bytes),
    /// It is too long to be kept: what is left of it.
    Rest(Box<Exchange>),
    End,
    Broke,
}

impl Flights {
    /// Waits for a call that is under way, or begins one: true.
    pub(super) fn join(&self, question: Question) -> (Waiter, bool) {
        let mut shard = self.shard(question.place).lock();
        if let Some(flight) = shard.get(&question.place)
            && flight.question == question
        {
            return (Waiter::new(flight, false), false);
        }
        let flight = Flight::new(question);
        shard.insert(flight.question.place, flight.clone());
        (Waiter::new(&flight, true), true)
    }

    /// Begins one in the background, unless one is under way.
    pub(super) fn begin(&self, question: Question) -> Option<Arc<Flight>> {
        let mut shard = self.shard(question.place).lock();
        if shard.contains_key(&question.place) {
            return None;
        }
        let flight = Flight::new(question);
        shard.insert(flight.question.place, flight.clone());
        Some(flight)
    }

    /// Nobody joins it from now on.
    pub(super) fn end(&self, flight: &Arc<Flight>) {
        let mut shard = self.shard(flight.question.place).lock();
        let place = flight.question.place;
        if shard
            .get(&place)
            .is_some_and(|own| Arc::ptr_eq(own, flight))
        {
            shard.remove(&place);
        }
    }

    /// Gives it up if still nobody waits. Who comes now begins anew.
    pub(super) fn give_up(&self, flight: &Arc<Flight>) -> bool {
        let mut shard = self.shard(flight.question.place).lock();
        if !flight.state.lock().waiters.is_empty() {
            return false;
        }
        let place = flight.question.place;
        if shard
            .get(&place)
            .is_some_and(|own| Arc::ptr_eq(own, flight))
        {
            shard.remove(&place);
        }
        true
    }

    fn shard(&self, place: u64) -> &Mutex<HashMap<u64, Arc<Flight>>> {
        &self.0[place as usize % SHARDS]
    }
}

impl Flight {
    fn new(question: Question) -> Arc<Self> {
        Arc::new(Self {
            question,
            state: Mutex::default(),
        })
    }

    /// One that nobody else joins.
    pub(super) fn alone(question: Question) -> (Waiter, Arc<Self>) {
        let flight = Self::new(question);
        (Waiter::new(&flight, true), flight)
    }

    pub(super) fn question(&self) -> &Question {
        &self.question
    }

    /// Ready once nobody waits.
    pub(super) fn poll_left(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.waiters.is_empty() {
            return Poll::Ready(());
        }
        state.filler = Some(cx.waker().clone());
        Poll::Pending
    }

    /// A response that is kept, and whole.
    pub(super) fn kept(&self, head: Arc<Head>, body: Bytes) {
        self.turn(Turned::Kept(head, Source::Whole(body)));
    }

    /// A response that is to be kept; its body comes.
    pub(super) fn comes(&self, head: Arc<Head>, length: Option<u64>) {
        self.turn(Turned::Kept(head, Source::Coming(length)));
    }

    /// The first one's own, and nothing for the others. `failed`: since the upstream did.
    pub(super) fn own(&self, response: Response<ResponseBody>, failed: bool) {
        let mut state = self.state.lock();
        if !state.first_left {
            state.own = Some(response);
        }
        drop(state);
        self.turn(Turned::Released(failed));
    }

    /// Nothing, for nobody, unless something was told before.
    pub(super) fn release(&self, failed: bool) {
        if self.state.lock().turn.is_none() {
            self.turn(Turned::Released(failed));
        }
    }

    fn turn(&self, turned: Turned) {
        let mut state = self.state.lock();
        state.turn = Some(turned);
        state.wake();
    }

    pub(super) fn push(&self, bytes: Bytes) {
        let mut state = self.state.lock();
        state.chunks.push(bytes);
        state.wake();
    }

    /// The body is whole, as one piece.
    pub(super) fn whole(&self) -> Bytes {
        let chunks = self.state.lock().chunks.clone();
        let mut whole = Vec::with_capacity(chunks.iter().map(Bytes::len).sum());
        for chunk in &chunks {
            whole.extend_from_slice(chunk);
        }
        whole.into()
    }

    pub(super) fn finish(&self, whole: bool) {
        let mut state = self.state.lock();
        if state.end.is_none() {
            state.end = Some(if whole { End::Whole } else { End::Broke });
            state.wake();
        }
    }

    /// The body is too long: its rest is for the first waiter, who has the beginning, and those
    /// who wait for the whole are let go.
    pub(super) fn hand_over(&self, rest: Box<Exchange>) {
        let mut state = self.state.lock();
        state.too_long = true;
        if !state.first_left {
            state.rest = Some(rest);
        }
        state.end = Some(End::Broke);
        state.wake();
    }
}

impl State {
    fn wake(&mut self) {
        for (_, waiter) in &mut self.waiters {
            if let Some(waker) = waiter.take() {
                waker.wake();
            }
        }
    }
}

/// One who waits. Dropped, it waits no more.
#[derive(Debug)]
pub(super) struct Waiter {
    flight: Arc<Flight>,
    at: usize,
    pub(super) first: bool,
}

impl Waiter {
    fn new(flight: &Arc<Flight>, first: bool) -> Self {
        Self {
            flight: flight.clone(),
            at: flight.state.lock().waiters.insert(None),
            first,
        }
    }

    pub(super) fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }

    /// What the call comes to.
    pub(super) fn poll_turn(&self, cx: &Context<'_>) -> Poll<Turn> {
        let mut state = self.flight.state.lock();
        let turn = match (&state.turn, state.end) {
            (Some(Turned::Kept(head, Source::Whole(body))), _) => {
                Turn::Page(head.clone(), body.clone())
            }
            // Who came later waits until it is known not to be too long.
            (Some(Turned::Kept(head, Source::Coming(length))), end)
                if self.first || length.is_some() || end == Some(End::Whole) =>
            {
                Turn::Coming(head.clone(), *length)
            }
            (Some(Turned::Kept(..)), Some(End::Broke)) => Turn::Released(!state.too_long),
            (Some(Turned::Released(failed)), _) => {
                let failed = *failed;
                match state.own.take() {
                    Some(own) if self.first => Turn::Own(own, failed),
                    other => {
                        state.own = other;
                        Turn::Released(failed)
                    }
                }
            }
            _ => {
                state.waiters[self.at] = Some(cx.waker().clone());
                return Poll::Pending;
            }
        };
        Poll::Ready(turn)
    }

    /// The piece of the body with this number.
    fn poll_chunk(&self, number: usize, cx: &Context<'_>) -> Poll<Chunk> {
        let mut state = self.flight.state.lock();
        if let Some(chunk) = state.chunks.get(number) {
            return Poll::Ready(Chunk::Bytes(chunk.clone()));
        }
        if self.first
            && let Some(rest) = state.rest.take()
        {
            return Poll::Ready(Chunk::Rest(rest));
        }
        match state.end {
            Some(End::Whole) => Poll::Ready(Chunk::End),
            Some(End::Broke) => Poll::Ready(Chunk::Broke),
            None => {
                state.waiters[self.at] = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let left = {
            let mut state = self.flight.state.lock();
            state.waiters.remove(self.at);
            state.first_left |= self.first;
            let left = if self.first {
                (state.own.take(), state.rest.take())
            } else {
                (None, None)
            };
            if state.waiters.is_empty()
                && let Some(filler) = state.filler.take()
            {
                filler.wake();
            }
            left
        };
        // What an exchange does when it is dropped, it does without the lock.
        drop(left);
    }
}

/// A body that is being copied while it is passed on.
#[derive(Debug)]
pub(crate) struct Copied {
    waiter: Waiter,
    next: usize,
    /// Of the last chunk, what has not been passed on yet.
    piece: Bytes,
    length: Option<u64>,
    passed: u64,
    flushed: bool,
    busy: Option<Busy>,
    /// It was too long.
    rest: Option<Box<Exchange>>,
}

impl Copied {
    pub(super) fn new(waiter: Waiter, length: Option<u64>, busy: Busy) -> Self {
        Self {
            waiter,
            next: 0,
            piece: Bytes::new(),
            length,
            passed: 0,
            flushed: false,
            busy: Some(busy),
            rest: None,
        }
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(rest) = &mut self.rest {
            return rest.poll_frame(cx);
        }
        let handed = self.busy.as_ref().and_then(|busy| busy.handed.clone());
        if let Some(handed) = &handed {
            handed.asked();
        }
        if self.piece.is_empty() {
            match self.waiter.poll_chunk(self.next, cx) {
                Poll::Ready(Chunk::Bytes(bytes)) => {
                    self.next += 1;
                    self.piece = bytes;
                }
                Poll::Ready(Chunk::Rest(mut rest)) => {
                    if let Some(busy) = self.busy.take() {
                        rest.adopt(busy);
                    }
                    return self.rest.insert(rest).poll_frame(cx);
                }
                Poll::Ready(Chunk::End) => {
                    self.end();
                    return Poll::Ready(None);
                }
                Poll::Ready(Chunk::Broke) if !self.flushed => {
                    // hyper drops what it has not written when a body fails. One turn lets it write.
                    self.flushed = true;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(Chunk::Broke) => {
                    self.end();
                    return Poll::Ready(Some(Err(BodyError::CopyBroke)));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        let piece = piece(&mut self.piece, handed.as_ref());
        self.passed += piece.len() as u64;
        if let Some(record) = self.busy.as_mut().and_then(|busy| busy.record.as_mut()) {
            record.sent += piece.len() as u64;
        }
        if self.length == Some(self.passed) {
            // hyper does not ask again.
            self.end();
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn end(&mut self) {
        if let Some(busy) = &mut self.busy {
            busy.answered = true;
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        match &self.rest {
            Some(rest) => rest.is_end_stream(),
            None => self.length == Some(self.passed),
        }
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match (self.length, &self.rest) {
            (_, Some(rest)) => rest.size_hint(),
            (Some(length), _) => SizeHint::with_exact(length.saturating_sub(self.passed)),
            _ => SizeHint::default(),
        }
    }
}

/// What goes over at once: over HTTP/2 no more than shows whether its client takes it.
fn piece(bytes: &mut Bytes, handed: Option<&Handed>) -> Bytes {
    let Some(handed) = handed else {
        return std::mem::take(bytes);
    };
    let piece = bytes.split_to(bytes.len().min(PIECE));
    handed.over(piece.len());
    piece
}

/// A body that is kept, for a client over HTTP/2.
#[derive(Debug)]
pub(crate) struct Pieces {
    body: Bytes,
    handed: Handed,
    _busy: Busy,
}

impl Pieces {
    /// The body of an answer to `busy`: as it is, or in pieces where that is what its client needs.
    pub(super) fn of(body: Bytes, busy: Busy) -> ResponseBody {
        match busy.handed.clone() {
            Some(handed) if body.len() > PIECE => ResponseBody::Pieces(Box::new(Self {
                body,
                handed,
                _busy: busy,
            })),
            _ => ResponseBody::Own(body),
        }
    }
}

impl Pieces {
    pub(crate) fn poll_frame(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.handed.asked();
        if self.body.is_empty() {
            return Poll::Ready(None);
        }
        let piece = piece(&mut self.body, Some(&self.handed));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.body.is_empty()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.body.len() as u64)
    }
}
