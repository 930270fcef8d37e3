//! Which protocol an origin offers over TLS.
//!
//! A request's head differs between HTTP/1.1 and HTTP/2, so which it is must be known before there is
//! a connection to ask. The first request opens one that offers both and keeps it for use; what the
//! origin chose then holds for all, until a connection is refused HTTP/2. An origin that begins to
//! offer HTTP/2 is spoken to in HTTP/1.1 until the upstream is set up anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use super::dial::Dialled;
use super::http1;
use super::{DialError, Pool};
use crate::core::Core;
use crate::tls::Offer;

const UNKNOWN: u8 = 0;
const HTTP1: u8 = 1;
const HTTP2: u8 = 2;

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Known(AtomicU8);

impl Pool {
    /// Whether the origin offers HTTP/2, as far as is known. In the clear nothing is offered.
    pub(crate) fn offers_http2(&self) -> Option<bool> {
        if self.tls.is_none() {
            return Some(false);
        }
        match self.offer.0.load(Relaxed) {
            UNKNOWN => None,
            offer => Some(offer == HTTP2),
        }
    }

    /// A connection was refused HTTP/2: if that was offered once, it is not known any more.
    pub(super) fn forget_http2(&self) {
        let _ = (self.offer.0).compare_exchange(HTTP2, UNKNOWN, Relaxed, Relaxed);
    }

    /// Opens a connection in the protocol that the origin chooses, and says whether that is HTTP/2.
    pub(crate) async fn learn(self: &Arc<Self>, core: &Core) -> Result<bool, DialError> {
        let dialling = self.shelves[core.index].lock().dialling.clone();
        let dial = async {
            let _one = dialling.lock().await;
            if let Some(known) = self.offers_http2() {
                return Ok(known);
            }
            let place = self.place().await?;
            let (stream, http2) = match self.dial(Offer::Any).await? {
                Dialled::Tls(stream, http2) => (*stream, http2 == Some(true)),
                Dialled::Plain(_) => return Ok(false),
            };
            if http2 {
                self.begin_http2(core, stream, place).await?;
            } else {
                let mut send = http1::begin(stream, core.index, place).await?;
                // It would be passed over otherwise, and another one opened.
                if send.send.ready().await.is_ok() {
                    self.lent(core, send, false).put_back(core.clock.now());
                }
            }
            let known = if http2 { HTTP2 } else { HTTP1 };
            self.offer.0.store(known, Relaxed);
            Ok(http2)
        };
        tokio::time::timeout(self.connect * 2, dial)
            .await
            .unwrap_or(Err(DialError::Slow))
    }
}
