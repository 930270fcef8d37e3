//! Which protocol an upstream offers over TLS.
//!
//! A request's head differs between HTTP/1.1 and HTTP/2, so which it is must be known before there is
//! a connection to ask. The first request opens one that offers both and keeps it for use; what the
//! host chose then holds for all of the upstream's, until one refuses HTTP/2. An upstream that
//! begins to offer HTTP/2 is spoken to in HTTP/1.1 until its settings change.

use std::sync::Arc;

use super::dial::Dialled;
use super::http1;
use super::{DialError, Pool};
use crate::core::Core;
use crate::tls::Offer;

impl Pool {
    /// Opens a connection in the protocol that the host chooses, and says whether that is HTTP/2.
    pub(crate) async fn learn(self: &Arc<Self>, core: &Core) -> Result<bool, DialError> {
        let Some(tls) = self.tls.lock().clone() else {
            return Ok(false);
        };
        let dialling = self.shelves[core.index].lock().dialling.clone();
        let dial = async {
            let _one = dialling.lock().await;
            // Whoever dialled before us may have learnt it.
            if let Some(known) = tls.known.offers_http2() {
                return Ok(known);
            }
            let place = self.place().await?;
            let (stream, http2) = match self.dial(Offer::Any).await? {
                Dialled::Tls(stream, http2) => (*stream, http2),
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
            tls.known.learnt(http2);
            Ok(http2)
        };
        tokio::time::timeout(self.connect() * 2, dial)
            .await
            .unwrap_or(Err(DialError::Slow))
    }
}
