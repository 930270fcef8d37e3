//! Listening: one socket per core on the same port, so that every core accepts for itself.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::core::Core;
use crate::serve;

/// How long accepting rests when descriptors or memory have run out.
const BACK_OFF: Duration = Duration::from_millis(50);

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

/// Accepts until a drain begins.
pub(crate) async fn accept(core: Arc<Core>, listener: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => admit(&core, stream, peer),
            Err(error) if is_shortage(&error) => {
                core.make_room();
                tokio::time::sleep(BACK_OFF).await;
            }
            // The client has left again; the next one may not have.
            Err(_) => {}
        }
    }
}

fn admit(core: &Arc<Core>, stream: TcpStream, peer: SocketAddr) {
    let open = core.shared.connections.fetch_add(1, Ordering::Relaxed);
    let guard = Open(core.clone());
    if open >= core.shared.limits.max_connections {
        core.make_room();
        return;
    }
    let _ = stream.set_nodelay(true);
    let core = core.clone();
    tokio::spawn(async move {
        serve::connection(core, stream, peer).await;
        drop(guard);
    });
}

struct Open(Arc<Core>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.shared.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Out of descriptors, buffers or memory: trying again at once is of no use.
fn is_shortage(error: &io::Error) -> bool {
    // ENFILE, EMFILE, ENOBUFS, ENOMEM on Linux.
    matches!(error.raw_os_error(), Some(23 | 24 | 105 | 12))
}
