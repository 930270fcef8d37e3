//! Listening: one socket per core on the same port, so that every core accepts for itself.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::core::Core;
use crate::serve::{self, Open};
use crate::site::{Listening, Site};

/// How long accepting rests when descriptors or memory have run out.
const BACK_OFF: Duration = Duration::from_millis(50);

/// How often a listener that has all the connections it may looks again.
const FULL: Duration = Duration::from_millis(10);

/// The queue of connections that the kernel has completed and we have not accepted.
const BACKLOG: i32 = 4096;

/// Binds `count` sockets to one address; port 0 is resolved by the first.
pub(crate) fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<std::net::TcpListener>> {
    let mut address = address;
    let mut sockets = Vec::with_capacity(count);
    // SO_REUSEPORT would let two gateways of one user share a port in silence.
    if address.port() != 0 {
        drop(listener(address, false)?);
    }
    for _ in 0..count {
        let socket = listener(address, true)?;
        address = socket.local_addr()?;
        sockets.push(socket);
    }
    Ok(sockets)
}

fn listener(address: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts for ever. A connection that one core cannot take waits in the kernel's backlog.
pub(crate) async fn accept(core: Arc<Core>, listening: Arc<Listening>, listener: TcpListener) {
    loop {
        let site = listening.site();
        if site.open() >= site.max_connections {
            site.tell_full(core.clock.now());
            tokio::time::sleep(FULL).await;
            continue;
        }
        match listener.accept().await {
            Ok((stream, peer)) => take(&core, &listening.site(), stream, peer),
            Err(error) if is_shortage(&error) => {
                core.tell_shortage(&error);
                core.make_room();
                tokio::time::sleep(BACK_OFF).await;
            }
            // The client has left again; the next one may not have.
            Err(_) => {}
        }
    }
}

fn take(core: &Arc<Core>, site: &Arc<Site>, stream: TcpStream, peer: SocketAddr) {
    // Worth serving without it.
    let _ = stream.set_nodelay(true);
    let open = Open::new(site, core);
    if site.tls.is_some() {
        tokio::spawn(serve::secured(open, stream, peer));
    } else {
        tokio::spawn(serve::connection(open, stream, peer, None));
    }
}

/// Out of descriptors, buffers or memory: trying again at once is of no use.
fn is_shortage(error: &io::Error) -> bool {
    // ENFILE, EMFILE, ENOBUFS, ENOMEM on Linux.
    matches!(error.raw_os_error(), Some(23 | 24 | 105 | 12))
}
