//! Free ports.
//!
//! The kernel hands out ports from 32768 up to outgoing connections, so a port taken from there
//! can be gone between asking and listening. Below, only servers listen.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::Error;

const FIRST: u64 = 10_000;
const END: u64 = 32_768;
/// Prime to the number of ports, so that all of them are visited.
const STRIDE: u64 = 37;
const TRIES: u64 = 200;

/// A TCP port of 127.0.0.1 from 10000 to 32767 on which nothing listens now.
///
/// No two callers in a process get the same one, or not before all others; processes start at random
/// places, so that they seldom do.
///
/// # Errors
/// [`Error::Ports`] when 200 tries found none.
pub fn free_port() -> Result<u16, Error> {
    static NEXT: LazyLock<AtomicU64> = LazyLock::new(|| {
        // Small enough never to wrap around.
        AtomicU64::new(RandomState::new().hash_one(std::process::id()) >> 16)
    });
    (0..TRIES)
        .map(|_| FIRST + NEXT.fetch_add(1, Relaxed) * STRIDE % (END - FIRST))
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| refuses(*port))
        .ok_or(Error::Ports)
}

/// Asked by connecting rather than by binding: a socket that was bound, even for a moment, is still
/// held by a child process that another thread has forked and that has not become its program yet.
fn refuses(port: u16) -> bool {
    let asked = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
    asked.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::process::Command;

    #[test]
    fn ports_stay_below_the_kernels_range() {
        for _ in 0..20 {
            let port = free_port().expect("a port");
            assert!((10_000..32_768).contains(&port));
        }
    }

    #[test]
    fn no_two_callers_get_the_same() {
        let threads = [(); 4].map(|()| {
            std::thread::spawn(|| {
                (0..50)
                    .map(|_| free_port().expect("a port"))
                    .collect::<Vec<_>>()
            })
        });
        let mut ports = Vec::new();
        for thread in threads {
            ports.extend(thread.join().expect("no thread panics"));
        }
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 200);
    }

    #[test]
    fn a_port_can_be_bound_while_other_threads_start_programs() {
        let starters = [(); 2].map(|()| {
            std::thread::spawn(|| {
                for _ in 0..100 {
                    let ended = Command::new("true").status();
                    assert!(ended.is_ok_and(|status| status.success()));
                }
            })
        });
        while starters.iter().any(|starter| !starter.is_finished()) {
            let port = free_port().expect("a port");
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("nobody holds it");
        }
        for starter in starters {
            starter.join().expect("no thread panics");
        }
    }

    #[test]
    fn a_port_in_use_is_not_free() {
        let port = free_port().expect("a port");
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("free");
        assert!((0..50).all(|_| free_port().is_ok_and(|other| other != port)));
        drop(held);
    }
}
