//! One client connection: what is known of it and how long it may go on.
//!
//! A single alarm guards the connection. While it waits for a request the idle limit holds, from
//! the first byte of a request to the end of its headers the limit on headers (slow headers are
//! cut), while a request is under way none, unless the client reads too slowly what was written.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use http::{HeaderValue, Response};
use http_body::Body;
use seawall_policy::{Rejection, Tick};

use crate::access::Record;
use crate::core::Core;
use crate::counters::Fault;
use crate::framing::Framing;
use crate::pace::Pace;
use crate::site::Site;
use crate::stall::Handed;
use crate::sweep::Alarm;

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const BUSY: u8 = 2;
const BLOCKED: u8 = 3;
const LEAVING: u8 = 4;
const TUNNEL: u8 = 5;

/// How long a client that still sends is heard out after we have closed. Closing on unread bytes
/// makes the kernel answer with a reset, which may overtake our last answer.
const LEAVE: Duration = Duration::from_secs(1);

/// How long a drain waits for clients that have not sent a whole request head, or have nothing under
/// way over HTTP/2, where a goodbye is answered before it holds. No more than what is on its way to
/// us takes.
pub(crate) const LAST_WORD: Duration = Duration::from_secs(1);

/// No request's number.
const NONE: u32 = u32::MAX;

/// A stream that is reset sooner than this was not meant to be answered.
const PREMATURE: Duration = Duration::from_millis(10);
/// So many of them, if they are most of its streams, cost an HTTP/2 connection its life.
const MAX_PREMATURE: u32 = 100;

/// What is known of a client connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) core: Arc<Core>,
    pub(crate) site: Arc<Site>,
    /// The address as a header value, made once a connection.
    pub(crate) ip_value: HeaderValue,
    /// What it says of those before it is believed.
    pub(crate) trusted: bool,
    pub(crate) ip: IpAddr,
    pub(crate) alarm: Alarm,
    http2: bool,
    stage: AtomicU8,
    active: AtomicU32,
    requests: AtomicU32,
    premature: AtomicU32,
    /// Over HTTP/1.1: how many heads have been looked at, the ones sent ahead included,
    heads: AtomicU32,
    /// and which of them, counted from 0, gave both a length and an encoding.
    conflicting: AtomicU32,
}

impl Client {
    pub(crate) fn new(core: &Arc<Core>, site: &Arc<Site>, ip: IpAddr, http2: bool) -> Arc<Self> {
        // 4-in-6 addresses are written as what they are.
        let ip = ip.to_canonical();
        let ip_value = HeaderValue::try_from(ip.to_string())
            .unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        let alarm = core.sweep.alarm();
        alarm.set(
            core.clock.now()
                + if http2 {
                    site.idle_timeout
                } else {
                    site.header_timeout
                },
        );
        Arc::new(Self {
            core: core.clone(),
            site: site.clone(),
            ip_value,
            trusted: site.trusts(ip),
            ip,
            alarm,
            http2,
            stage: AtomicU8::new(if http2 { IDLE } else { HEAD }),
            active: AtomicU32::new(0),
            requests: AtomicU32::new(0),
            premature: AtomicU32::new(0),
            heads: AtomicU32::new(0),
            conflicting: AtomicU32::new(NONE),
        })
    }

    /// The same one, for a call that goes on when it has left. Nothing of it is a connection's.
    pub(crate) fn apart(&self) -> Arc<Self> {
        let alarm = self.core.sweep.alarm();
        alarm.set(Tick::MAX);
        Arc::new(Self {
            core: self.core.clone(),
            site: self.site.clone(),
            ip_value: self.ip_value.clone(),
            trusted: self.trusted,
            ip: self.ip,
            alarm,
            http2: true,
            stage: AtomicU8::new(BUSY),
            active: AtomicU32::new(0),
            requests: AtomicU32::new(0),
            premature: AtomicU32::new(0),
            heads: AtomicU32::new(0),
            conflicting: AtomicU32::new(NONE),
        })
    }

    /// A request has begun. It ends when the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>, now: Tick) -> Busy {
        self.requests.fetch_add(1, Relaxed);
        if self.active.fetch_add(1, Relaxed) == 0 {
            self.stage.store(BUSY, Relaxed);
            self.alarm.set(Tick::MAX);
        }
        Busy {
            client: self.clone(),
            start: now,
            ended: None,
            answered: false,
            handed: None,
            record: None,
        }
    }

    fn end(&self, ended: Option<Tick>) {
        if self.active.fetch_sub(1, Relaxed) == 1 && self.stage.load(Relaxed) == BUSY {
            self.rest(ended.unwrap_or_else(|| self.core.clock.now()));
        }
    }

    fn rest(&self, now: Tick) {
        self.stage.store(IDLE, Relaxed);
        self.alarm.set(now + self.site.idle_timeout);
    }

    /// The client reset a stream, or left.
    fn abandoned(&self, start: Tick) {
        self.core.counters().fault(Fault::ClientGone);
        if !self.http2 || self.core.clock.now().since(start) > PREMATURE {
            return;
        }
        let premature = self.premature.fetch_add(1, Relaxed) + 1;
        if premature > MAX_PREMATURE && premature > self.requests.load(Relaxed) / 2 {
            // Rings at once.
            self.stage.store(BLOCKED, Relaxed);
            self.alarm.set(Tick::ZERO);
        }
    }

    pub(crate) fn was_read(&self, bytes: &[u8], framing: &mut Framing) {
        let stage = self.stage.load(Relaxed);
        if self.http2 || stage == TUNNEL {
            return;
        }
        let before = framing.heads();
        framing.read(bytes);
        let whole = framing.heads() != before;
        if whole {
            self.heads.store(framing.heads(), Relaxed);
            self.conflicting
                .store(framing.conflicting().unwrap_or(NONE), Relaxed);
        }
        if stage == IDLE {
            self.stage.store(HEAD, Relaxed);
            // A whole head becomes a request at once; the idle limit may stand until then.
            if !whole {
                self.alarm
                    .set(self.core.clock.now() + self.site.header_timeout);
                if self.core.draining() {
                    self.says_goodbye();
                }
            }
        }
    }

    /// How sure it is that the request just begun, which has a transfer encoding, has no length
    /// beside it.
    pub(crate) fn framing(&self) -> Sure {
        let number = self.requests.load(Relaxed).wrapping_sub(1);
        if self.http2 {
            Sure::Yes
        } else if number == self.conflicting.load(Relaxed) {
            Sure::No
        } else if number < self.heads.load(Relaxed) {
            Sure::Yes
        } else {
            Sure::Unknown
        }
    }

    /// Both sides have changed the protocol.
    pub(crate) fn tunnels(&self) {
        self.stage.store(TUNNEL, Relaxed);
    }

    /// A drain has begun: who has nothing under way is given [little time](LAST_WORD) to hear of it,
    /// or to say what it had begun to say.
    pub(crate) fn says_goodbye(&self) {
        if matches!(self.stage.load(Relaxed), IDLE | HEAD) {
            self.alarm.hasten(self.core.clock.now() + LAST_WORD);
        }
    }

    /// Requests under way.
    pub(crate) fn active(&self) -> u32 {
        self.active.load(Relaxed)
    }

    pub(crate) fn write_blocks(&self, pace: &mut Pace) {
        let stage = self.stage.load(Relaxed);
        if stage != BLOCKED && stage != TUNNEL {
            self.stage.store(BLOCKED, Relaxed);
            self.alarm.set(pace.wait(self.core.clock.now()));
        }
    }

    /// We have closed, and the client may still be sending.
    pub(crate) fn leaves(&self) {
        self.stage.store(LEAVING, Relaxed);
        self.alarm.set(self.core.clock.now() + LEAVE);
    }

    /// Whether the client may still be sending what nobody reads. Only a head that was refused
    /// before its end leaves such bytes.
    pub(crate) fn sends_on(&self) -> bool {
        !self.http2 && self.stage.load(Relaxed) == HEAD
    }

    /// Whether what ends the connection now is only the client that did not leave.
    pub(crate) fn is_leaving(&self) -> bool {
        self.stage.load(Relaxed) == LEAVING
    }

    pub(crate) fn was_written(&self) {
        if self.stage.load(Relaxed) == BLOCKED {
            if self.active.load(Relaxed) == 0 {
                self.rest(self.core.clock.now());
            } else {
                self.stage.store(BUSY, Relaxed);
                self.alarm.set(Tick::MAX);
            }
        }
    }
}

/// An answer that may not be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sure {
    Yes,
    No,
    Unknown,
}

/// A request under way on a connection. Dropped before it was answered, it counts as abandoned.
#[derive(Debug)]
pub(crate) struct Busy {
    pub(crate) client: Arc<Client>,
    pub(crate) start: Tick,
    /// When it ended, where that has been looked up already.
    pub(crate) ended: Option<Tick>,
    pub(crate) answered: bool,
    /// For the watch over an HTTP/2 stream.
    pub(crate) handed: Option<Handed>,
    /// For the access log, where this request is in it.
    pub(crate) record: Option<Box<Record>>,
}

impl Busy {
    /// An answer of our own is on its way.
    pub(crate) fn answer<B: Body>(&mut self, response: &Response<B>, rejection: Option<Rejection>) {
        self.answered = true;
        if let Some(record) = &mut self.record {
            record.status = response.status().as_u16();
            record.sent = response.body().size_hint().lower();
            record.rejection = rejection;
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if !self.answered {
            self.client.abandoned(self.start);
        }
        if let Some(record) = self.record.take() {
            let core = &self.client.core;
            core.shared
                .access
                .end(*record, &self.client, self.start, core.clock.now());
        }
        self.client.end(self.ended);
    }
}
