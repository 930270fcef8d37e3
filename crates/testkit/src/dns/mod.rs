//! A DNS server that says what a test tells it to.

mod message;

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::{Error, free_port};
use message::Query;

/// A DNS server of one's own on a port of 127.0.0.1, over UDP and TCP; it ends when dropped.
///
/// A name that it was told nothing of does not exist; one that it was told other records of has none
/// of this kind. What is larger than the asker takes over UDP is answered with "truncated", and
/// whole over TCP.
///
/// ```
/// use seawall_testkit::{Dns, DnsKind, DnsReply};
///
/// # fn main() -> Result<(), seawall_testkit::Error> {
/// let dns = Dns::start()?;
/// dns.say("db.test", DnsKind::A, [DnsReply::ips(5, ["10.0.0.1", "10.0.0.2"])]);
/// assert!(dns.address().port() < 32768);
/// assert_eq!(dns.asked("db.test", DnsKind::A), 0);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Dns {
    address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DnsKind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Services.
    Srv,
}

/// What is said.
#[derive(Clone, Debug)]
pub enum DnsReply {
    /// These, each of this TTL in seconds.
    Records(u32, Vec<DnsRecord>),
    /// An error: 2 for SERVFAIL, 3 for NXDOMAIN, 5 for REFUSED.
    Code(u8),
    /// Nothing at all.
    Silence,
    /// Bytes that are no message.
    Garbage,
}

/// A record without its name and TTL.
#[derive(Clone, Debug)]
pub enum DnsRecord {
    /// A or AAAA.
    Ip(IpAddr),
    /// Another name, of which the records that follow are.
    Cname(String),
    /// SRV.
    Srv {
        /// The lowest is used first.
        priority: u16,
        /// The share among those of one priority.
        weight: u16,
        /// Where it listens.
        port: u16,
        /// The name of the host.
        target: String,
    },
}

#[derive(Debug, Default)]
struct Shared {
    ended: AtomicBool,
    by_tcp: AtomicUsize,
    names: Mutex<HashMap<(String, DnsKind), Line>>,
}

/// What is said of one question, the last of it for ever.
#[derive(Debug, Default)]
struct Line {
    says: Vec<DnsReply>,
    asked: usize,
}

impl DnsReply {
    /// Addresses of this TTL in seconds.
    ///
    /// # Panics
    /// One of them is none.
    #[must_use]
    pub fn ips<'a>(ttl: u32, ips: impl IntoIterator<Item = &'a str>) -> Self {
        let ip = |text: &str| DnsRecord::Ip(text.parse().expect("an IP address"));
        Self::Records(ttl, ips.into_iter().map(ip).collect())
    }
}

impl DnsKind {
    fn of(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::A),
            28 => Some(Self::Aaaa),
            33 => Some(Self::Srv),
            _ => None,
        }
    }
}

impl Dns {
    /// Starts it. It answers at once.
    ///
    /// # Errors
    /// No port is free.
    pub fn start() -> Result<Self, Error> {
        let (udp, tcp) = bind()?;
        let address = udp.local_addr().map_err(Error::io("dns"))?;
        let shared = Arc::new(Shared::default());
        let (one, other) = (shared.clone(), shared.clone());
        let threads = vec![
            std::thread::spawn(move || one.serve_udp(&udp)),
            std::thread::spawn(move || other.serve_tcp(&tcp)),
        ];
        Ok(Self {
            address,
            shared,
            threads,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on says these one after the other, and the last for ever; says nothing of the name
    /// where there are none.
    pub fn say(&self, name: &str, kind: DnsKind, says: impl IntoIterator<Item = DnsReply>) {
        let mut names = self.shared.names();
        let line = names.entry((name.to_ascii_lowercase(), kind)).or_default();
        line.says = says.into_iter().collect();
        line.says.reverse();
    }

    /// How often it was asked this, not counting what it answered with "truncated".
    #[must_use]
    pub fn asked(&self, name: &str, kind: DnsKind) -> usize {
        let names = self.shared.names();
        let line = names.get(&(name.to_ascii_lowercase(), kind));
        line.map_or(0, |line| line.asked)
    }

    /// How often it was asked anything over TCP.
    #[must_use]
    pub fn by_tcp(&self) -> usize {
        self.shared.by_tcp.load(SeqCst)
    }
}

/// UDP and TCP on one port.
fn bind() -> Result<(UdpSocket, TcpListener), Error> {
    for _ in 0..200 {
        let address = (Ipv4Addr::LOCALHOST, free_port()?);
        match (UdpSocket::bind(address), TcpListener::bind(address)) {
            (Ok(udp), Ok(tcp)) => return Ok((udp, tcp)),
            (Err(error), _) | (_, Err(error)) if error.kind() != ErrorKind::AddrInUse => {
                return Err(Error::io("dns")(error));
            }
            _ => {}
        }
    }
    Err(Error::Ports)
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.shared.ended.store(true, SeqCst);
        // What each of them waits for, so that it looks.
        let _ = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|socket| socket.send_to(&[], self.address));
        drop(TcpStream::connect(self.address));
        for thread in self.threads.drain(..) {
            // Its panic has been printed.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn names(&self) -> MutexGuard<'_, HashMap<(String, DnsKind), Line>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve_udp(&self, socket: &UdpSocket) {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            if self.ended.load(SeqCst) {
                return;
            }
            let query = buffer.get(..length).and_then(Query::read);
            let answer = query.and_then(|query| self.answer(&query, query.size));
            if let Some(answer) = answer {
                // The asker may have left.
                let _ = socket.send_to(&answer, from);
            }
        }
    }

    /// One connection at a time: whoever asks is one process.
    fn serve_tcp(&self, listener: &TcpListener) {
        while let Ok((stream, _)) = listener.accept() {
            if self.ended.load(SeqCst) {
                return;
            }
            // An asker that leaves is no failure.
            let _ = self.serve_stream(stream);
        }
    }

    fn serve_stream(&self, mut stream: TcpStream) -> std::io::Result<()> {
        // So that an idle connection does not keep the server from ending.
        stream.set_read_timeout(Some(Duration::from_millis(200)))?;
        loop {
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            let mut message = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut message)?;
            self.by_tcp.fetch_add(1, SeqCst);
            let answer = Query::read(&message).and_then(|query| self.answer(&query, 65_535));
            if let Some(answer) = answer {
                let length = u16::try_from(answer.len()).unwrap_or(u16::MAX);
                stream.write_all(&[&length.to_be_bytes()[..], &answer].concat())?;
            }
        }
    }

    fn answer(&self, query: &Query<'_>, size: usize) -> Option<Vec<u8>> {
        let mut names = self.names();
        let told = |name: &str| {
            let mut lines = names.iter();
            lines.any(|((known, _), line)| known == name && !line.says.is_empty())
        };
        let otherwise = if told(&query.name) { 0 } else { 3 };
        let key = (query.name.clone(), query.kind?);
        let line = names.entry(key).or_default();
        let answer = match line.says.last() {
            Some(DnsReply::Records(ttl, records)) => Some(query.answer(0, *ttl, records)),
            Some(DnsReply::Code(code)) => Some(query.answer(*code, 0, &[])),
            Some(DnsReply::Silence) => None,
            Some(DnsReply::Garbage) => Some(query.garbage()),
            None => Some(query.answer(otherwise, 0, &[])),
        };
        if answer.as_ref().is_some_and(|answer| answer.len() > size) {
            return Some(query.truncated());
        }
        line.asked += 1;
        if line.says.len() > 1 {
            line.says.pop();
        }
        answer
    }
}

#[cfg(test)]
mod tests;
