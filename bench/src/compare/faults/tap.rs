//! Counts what is sent to a port, by the packets: a process that is dead or stopped cannot be asked.
//!
//! A packet socket with a filter in the kernel, so that only what is counted wakes anybody. Needs
//! the right to open one (CAP_NET_RAW); without it nothing is counted and the row says so.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Protocol, SockFilter, Socket, Type};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packets {
    /// Attempts to connect.
    Connects,
    /// Pieces of data: a small request is one.
    Data,
}

/// Counts from its start to its drop.
#[derive(Debug)]
pub(super) struct Tap {
    count: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// IPv4, as the kernel wants it told: in network order.
const IPV4: i32 = 0x0800_u16.to_be() as i32;
const SYN: u32 = 0x02;
const PSH: u32 = 0x08;

impl Tap {
    pub(super) fn start(port: u16, packets: Packets) -> std::io::Result<Self> {
        // Without the link's header: packets begin with that of IP.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(IPV4)))?;
        socket.attach_filter(&filter(port, packets))?;
        // What came before the filter.
        socket.set_nonblocking(true)?;
        while (&socket).read(&mut [0; 1]).is_ok() {}
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let (count, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let thread = std::thread::Builder::new().name("tap".to_owned()).spawn({
            let (count, stop) = (Arc::clone(&count), Arc::clone(&stop));
            move || {
                while !stop.load(Relaxed) {
                    if (&socket).read(&mut [0; 1]).is_ok() {
                        count.fetch_add(1, Relaxed);
                    }
                }
            }
        })?;
        Ok(Self {
            count,
            stop,
            thread: Some(thread),
        })
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A program for the kernel's classic packet filter: TCP, to this port, with this flag.
fn filter(port: u16, packets: Packets) -> [SockFilter; 9] {
    const LOAD_BYTE: u16 = 0x30;
    const LOAD_HALF_AFTER_HEADER: u16 = 0x48;
    const LOAD_BYTE_AFTER_HEADER: u16 = 0x50;
    const HEADER_LENGTH: u16 = 0xb1;
    const EQUAL: u16 = 0x15;
    const HAS: u16 = 0x45;
    const RETURN: u16 = 0x06;
    let flag = match packets {
        Packets::Connects => SYN,
        Packets::Data => PSH,
    };
    let tcp = 6;
    [
        SockFilter::new(LOAD_BYTE, 0, 0, 9),
        SockFilter::new(EQUAL, 0, 6, tcp),
        SockFilter::new(HEADER_LENGTH, 0, 0, 0),
        SockFilter::new(LOAD_HALF_AFTER_HEADER, 0, 0, 2),
        SockFilter::new(EQUAL, 0, 3, u32::from(port)),
        SockFilter::new(LOAD_BYTE_AFTER_HEADER, 0, 0, 13),
        SockFilter::new(HAS, 0, 1, flag),
        SockFilter::new(RETURN, 0, 0, 1),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn packets_to_a_port_are_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let other = TcpListener::bind("127.0.0.1:0").expect("a port");
        let taps = [Packets::Connects, Packets::Data].map(|p| Tap::start(address.port(), p));
        let [Ok(connects), Ok(data)] = taps else {
            eprintln!("packet sockets are not allowed here: nothing is checked");
            return;
        };
        let mut stream = TcpStream::connect(address).expect("it listens");
        for _ in 0..3 {
            stream.write_all(b"call").expect("it is open");
        }
        let elsewhere = other.local_addr().expect("bound");
        TcpStream::connect(elsewhere).expect("it listens");
        drop(TcpStream::connect(address).expect("it listens"));
        let reached = (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            connects.count() >= 2 && data.count() >= 3
        });
        assert!(reached, "{} and {}", connects.count(), data.count());
        assert_eq!(connects.count(), 2);
    }
}
