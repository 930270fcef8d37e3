//! Free ports.
//!
//! The kernel hands out ports from 32768 up to outgoing connections, so a port taken from there
//! can be gone between asking and listening. Below, only servers listen.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::{Ipv4Addr, TcpListener};

use crate::Error;

const FIRST: u64 = 10_000;
const END: u64 = 32_768;
const TRIES: u64 = 200;

/// A TCP port of 127.0.0.1 from 10000 to 32767 on which nothing listens now.
///
/// Two callers could get the same one; they start at random places, so that is rare.
///
/// # Errors
/// [`Error::Ports`] when 200 tries found none.
pub fn free_port() -> Result<u16, Error> {
    let start = RandomState::new().hash_one(std::process::id());
    (0..TRIES)
        .map(|step| FIRST + start.wrapping_add(step * 37) % (END - FIRST))
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .ok_or(Error::Ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_stay_below_the_kernels_range() {
        for _ in 0..20 {
            let port = free_port().expect("a port");
            assert!((10_000..32_768).contains(&port));
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
