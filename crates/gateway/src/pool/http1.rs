//! HTTP/1.1 connections: one request at a time, last used first.

use std::sync::Arc;

use hyper::client::conn;
use hyper_util::rt::TokioIo;
use seawall_policy::Tick;

use super::{DialError, Place, Pool, SendHttp1, Turn};
use crate::core::Core;

/// A connection that waits for its next request.
#[derive(Debug)]
pub(super) struct Idle {
    pub(super) send: SendHttp1,
    pub(super) until: Tick,
}

/// A connection in use.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) send: SendHttp1,
    pub(crate) reused: bool,
    pool: Arc<Pool>,
    core: usize,
}

impl Lease {
    /// Puts the connection back on its core's shelf, or hands it to who waits for one.
    pub(super) fn put_back(self, now: Tick) {
        let Self {
            send, pool, core, ..
        } = self;
        if send.is_closed() {
            return;
        }
        if let Some(Turn::Connection(send)) = pool.hand_over(Turn::Connection(send)) {
            let until = now + pool.idle;
            pool.shelves[core].lock().idle.push(Idle { send, until });
        }
    }
}

impl Pool {
    pub(super) async fn lease_http1(
        self: &Arc<Self>,
        core: &Core,
        fresh: bool,
    ) -> Result<Lease, DialError> {
        let lease = |send, reused| Lease {
            send,
            reused,
            pool: self.clone(),
            core: core.index,
        };
        if !fresh && let Some(send) = self.take(core.index) {
            return Ok(lease(send, true));
        }
        if let Some(place) = self.try_place() {
            return Ok(lease(self.dial_http1(place).await?, false));
        }
        for other in 0..self.shelves.len() {
            if let Some(send) = self.take(other) {
                return Ok(lease(send, true));
            }
        }
        match self.turn().await? {
            Turn::Connection(mut send) => match send.ready().await {
                Ok(()) => Ok(lease(send, true)),
                Err(_) => {
                    let place = self.try_place().ok_or(DialError::Exhausted)?;
                    Ok(lease(self.dial_http1(place).await?, false))
                }
            },
            Turn::Place(place) => Ok(lease(self.dial_http1(place).await?, false)),
        }
    }

    /// The idle connection that was used last: the warmest, and the least likely to be closed.
    fn take(&self, core: usize) -> Option<SendHttp1> {
        let idle = &mut self.shelves[core].lock().idle;
        // One whose task has not run since its reply ended is not ready yet; it stays.
        for at in (0..idle.len()).rev() {
            if idle[at].send.is_closed() {
                idle.remove(at);
            } else if idle[at].send.is_ready() {
                return Some(idle.remove(at).send);
            }
        }
        None
    }

    async fn dial_http1(&self, place: Place) -> Result<SendHttp1, DialError> {
        let stream = self.dial().await?;
        let (send, connection) = conn::http1::Builder::new()
            .max_buf_size(64 * 1024)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(DialError::Handshake)?;
        tokio::spawn(async move {
            // Its errors reach the request that is on it; an idle one has nobody to tell.
            let _ = connection.with_upgrades().await;
            drop(place);
        });
        Ok(send)
    }
}
