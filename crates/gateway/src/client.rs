//! One client connection: what is known of it and how long it may go on.
//!
//! A single alarm guards the connection. While it waits for a request the idle limit holds, from
//! the first byte of a request to the end of its headers the limit on headers (slow headers are
//! cut), while a request is under way none, unless the client does not read what was written.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::task::{Context, Poll};

use http::HeaderValue;
use seawall_policy::Tick;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::core::Core;
use crate::sweep::Alarm;

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const BUSY: u8 = 2;
const BLOCKED: u8 = 3;

/// What is known of a client connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) core: Arc<Core>,
    pub(crate) ip: IpAddr,
    /// `ip` as a header value, made once a connection.
    pub(crate) ip_value: HeaderValue,
    pub(crate) trusted: bool,
    pub(crate) http2: bool,
    pub(crate) alarm: Alarm,
    stage: AtomicU8,
    active: AtomicU32,
}

impl Client {
    pub(crate) fn new(
        core: &Arc<Core>,
        ip: IpAddr,
        trusted: bool,
        http2: bool,
        now: Tick,
    ) -> Arc<Self> {
        // 4-in-6 addresses are written as what they are.
        let ip = ip.to_canonical();
        let ip_value = HeaderValue::from_str(&ip.to_string())
            .unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        let alarm = core.sweep.alarm();
        let limits = &core.shared.limits;
        alarm.set(
            now + if http2 {
                limits.idle
            } else {
                limits.request_head
            },
        );
        let stage = AtomicU8::new(if http2 { IDLE } else { HEAD });
        Arc::new(Self {
            core: core.clone(),
            ip,
            ip_value,
            trusted,
            http2,
            alarm,
            stage,
            active: AtomicU32::new(0),
        })
    }

    /// A request has begun. It ends when the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        if self.active.fetch_add(1, Ordering::Relaxed) == 0 {
            self.stage.store(BUSY, Ordering::Relaxed);
            self.alarm.set(Tick::MAX);
        }
        Busy(self.clone())
    }

    fn end(&self) {
        if self.active.fetch_sub(1, Ordering::Relaxed) == 1
            && self.stage.load(Ordering::Relaxed) == BUSY
        {
            self.stage.store(IDLE, Ordering::Relaxed);
            self.alarm
                .set(self.core.clock.now() + self.core.shared.limits.idle);
        }
    }

    fn was_read(&self) {
        if !self.http2 && self.stage.load(Ordering::Relaxed) == IDLE {
            self.stage.store(HEAD, Ordering::Relaxed);
            self.alarm
                .set(self.core.clock.now() + self.core.shared.limits.request_head);
        }
    }

    fn write_blocks(&self) {
        if self.stage.swap(BLOCKED, Ordering::Relaxed) != BLOCKED {
            self.alarm
                .set(self.core.clock.now() + self.core.shared.limits.response_write_idle);
        }
    }

    fn was_written(&self) {
        if self.stage.load(Ordering::Relaxed) == BLOCKED {
            let (stage, due) = if self.active.load(Ordering::Relaxed) > 0 {
                (BUSY, Tick::MAX)
            } else {
                (IDLE, self.core.clock.now() + self.core.shared.limits.idle)
            };
            self.stage.store(stage, Ordering::Relaxed);
            self.alarm.set(due);
        }
    }

    /// No request is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.active.load(Ordering::Relaxed) == 0
    }
}

/// A request under way on a connection.
#[derive(Debug)]
pub(crate) struct Busy(pub(crate) Arc<Client>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The client's socket, which tells [`Client`] of its progress.
#[derive(Debug)]
pub(crate) struct Io {
    stream: TcpStream,
    client: Arc<Client>,
}

impl Io {
    pub(crate) fn new(stream: TcpStream, client: Arc<Client>) -> Self {
        Self { stream, client }
    }

    fn wrote<T>(&self, result: Poll<std::io::Result<T>>) -> Poll<std::io::Result<T>> {
        if result.is_pending() {
            self.client.write_blocks();
        } else {
            self.client.was_written();
        }
        result
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let result = Pin::new(&mut this.stream).poll_read(cx, buf);
        if result.is_ready() && buf.filled().len() > before {
            this.client.was_read();
        }
        result
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.wrote(result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
