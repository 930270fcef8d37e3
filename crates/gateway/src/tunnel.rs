//! Upgraded connections: bytes both ways until one side ends.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use seawall::admission::StreamPermit;
use tokio::io::copy_bidirectional;

use crate::client::Busy;
use crate::pool::Lease;
use crate::serve::Open;

/// Joins the two sides once both have switched. What is passed in is held for as long.
pub(crate) fn join(
    client: OnUpgrade,
    origin: OnUpgrade,
    held: (Option<StreamPermit>, Lease, Busy),
) {
    // The connection's own guard ends with its HTTP part.
    let open = Open::new(&held.2.client.site, &held.2.client.core);
    held.2.client.tunnels();
    tokio::spawn(async move {
        if let Ok((client, origin)) = tokio::try_join!(client, origin) {
            // An error is one side's end; the other side learns of it by the close.
            let _ = copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(origin)).await;
        }
        drop((held, open));
    });
}
