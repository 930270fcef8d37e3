//! Serving one client connection: which protocol it speaks, and for how long.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use crate::client::{Client, LAST_WORD};
use crate::core::Core;
use crate::counters::Fault;
use crate::forward;
use crate::site::Site;
use crate::socket::{First, Io, Stream};
use crate::stall::Streams;
use crate::sweep::Alarm;

/// What hyper reads at once, and keeps for bodies; headers have a limit of their own.
const BUFFER: usize = 64 * 1024;

/// Headers that hyper takes without being told, over HTTP/1.1. Over HTTP/2 it takes any number.
const HEADERS: usize = 100;

/// An open connection, counted while it lasts.
#[derive(Debug)]
pub(crate) struct Open {
    site: Arc<Site>,
    core: Arc<Core>,
}

impl Open {
    pub(crate) fn new(site: &Arc<Site>, core: &Arc<Core>) -> Self {
        site.opened();
        core.counters().connections.fetch_add(1, Ordering::Relaxed);
        Self {
            site: site.clone(),
            core: core.clone(),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.site.closed();
        self.core
            .counters()
            .connections
            .fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves a connection over TLS. The handshake has as long as a request head.
pub(crate) async fn secured(open: Open, stream: TcpStream, peer: SocketAddr) {
    let (core, site) = (&open.core, &open.site);
    let Some(tls) = &site.tls else { return };
    // On the heap, to be gone when the connection is served.
    let mut handshake = Box::pin(tls.accept(stream, core.counters()));
    let shaken = first_word(core, site, handshake.as_mut()).await;
    drop(handshake);
    if let Some(Some((stream, http2))) = shaken {
        connection(open, stream, peer, http2).await;
    }
}

/// Serves a connection until it closes, goes over a limit, or a drain ends it. Which protocol it
/// speaks is told by its first bytes, where it is not `agreed` on.
pub(crate) async fn connection<S: Stream>(
    open: Open,
    mut stream: S,
    peer: SocketAddr,
    agreed: Option<bool>,
) {
    let (core, site) = (&open.core, &open.site);
    // No buffer is given to a connection before it has sent something.
    let first = First::read(&mut stream, |first| agreed.or_else(|| speaks_http2(first)));
    let Some(Ok((http2, first))) = first_word(core, site, pin!(first)).await else {
        return;
    };
    let client = Client::new(core, site, peer.ip(), http2);
    let io = TokioIo::new(Io::new(stream, first, client.clone()));
    let parted = |draining: bool| client.is_leaving() || (draining && client.active() == 0);
    if http2 {
        let streams = Streams::new(&client);
        let service = {
            let (client, streams) = (client.clone(), streams.clone());
            service_fn(move |request| {
                forward::serve(client.clone(), Some(streams.begin()), request)
            })
        };
        let connection = http2::Builder::new(streams)
            .timer(TokioTimer::new())
            .max_concurrent_streams(site.max_concurrent_streams)
            .max_header_list_size(u32::try_from(site.max_header_bytes).unwrap_or(u32::MAX))
            // Rapid reset: streams that were reset before we saw them, and those that we had to reset.
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(128)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20))
            .serve_connection(io, service);
        guarded(
            core,
            &client.alarm,
            pin!(connection),
            |connection| {
                connection.graceful_shutdown();
                client.says_goodbye();
            },
            parted,
        )
        .await;
    } else {
        let service = {
            let client = client.clone();
            service_fn(move |request| forward::serve(client.clone(), None, request))
        };
        let mut builder = http1::Builder::new();
        if site.max_headers > HEADERS {
            // hyper keeps room for so many on the heap then, and on the stack otherwise.
            builder.max_headers(site.max_headers);
        }
        let connection = builder
            .header_read_timeout(None)
            .max_header_size(site.max_header_bytes)
            .max_buf_size(site.max_header_bytes.max(BUFFER))
            .serve_connection(io, service)
            .with_upgrades();
        guarded(
            core,
            &client.alarm,
            pin!(connection),
            |connection| {
                connection.graceful_shutdown();
                client.says_goodbye();
            },
            parted,
        )
        .await;
    }
}

/// What a client says first, if it does in time. Who has said nothing when a drain begins has nothing
/// under way.
async fn first_word<W: Future>(core: &Core, site: &Site, first: Pin<&mut W>) -> Option<W::Output> {
    let alarm = core.sweep.alarm();
    alarm.set(core.clock.now() + site.header_timeout);
    let goodbye = |_: Pin<&mut _>| alarm.hasten(core.clock.now() + LAST_WORD);
    guarded(core, &alarm, first, goodbye, |draining| draining).await
}

/// Drives `work` until it ends or `alarm` rings; calls `drain` when a drain begins. `parted` says of a
/// ringing alarm, given whether that has happened, that it is no fault of the client.
async fn guarded<W: Future>(
    core: &Core,
    alarm: &Alarm,
    mut work: Pin<&mut W>,
    drain: impl Fn(Pin<&mut W>),
    parted: impl Fn(bool) -> bool,
) -> Option<W::Output> {
    let mut draining = false;
    std::future::poll_fn(|cx: &mut Context<'_>| {
        if alarm.poll(cx).is_ready() {
            if !parted(draining) {
                core.counters().fault(Fault::Cut);
            }
            return Poll::Ready(None);
        }
        let mut polled = work.as_mut().poll(cx);
        if polled.is_pending() && !draining && core.draining() {
            draining = true;
            // What has arrived was read first: hyper closes at once where it has seen nothing.
            drain(work.as_mut());
            polled = work.as_mut().poll(cx);
        }
        polled.map(Some)
    })
    .await
}

/// Whether the first bytes are those of HTTP/2's preface; `None` while they may become it. No
/// HTTP/1 method begins like it.
fn speaks_http2(first: &[u8]) -> Option<bool> {
    const PREFACE: &[u8] = b"PRI ";
    if !PREFACE.starts_with(first) {
        Some(false)
    } else {
        (first.len() == PREFACE.len()).then_some(true)
    }
}
