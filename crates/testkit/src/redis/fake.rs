//! A Redis that answers what a test says.

use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::ask::line;
use crate::{Error, free_port};

/// What a [`FakeRedis`] does with a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FakeReply {
    /// Greets whoever says `HELLO`, and answers `OK` to anything else.
    Usual,
    /// Says this, whatever it is: half an answer, garbage, several.
    Says(Vec<u8>),
    /// Says this and closes the connection.
    Closes(Vec<u8>),
    /// Nothing.
    Silence,
}

impl FakeReply {
    /// A line, without its end: `-LOADING …`, `+OK`.
    #[must_use]
    pub fn line(text: &str) -> Self {
        Self::Says(format!("{text}\r\n").into_bytes())
    }
}

/// Decides what is said to a command and its arguments.
type Says = dyn Fn(&[Vec<u8>]) -> FakeReply + Send + Sync;

/// A Redis of one's own that answers what a test says; it ends when dropped.
///
/// ```
/// use seawall_testkit::{FakeRedis, FakeReply};
///
/// # fn main() -> Result<(), seawall_testkit::Error> {
/// let redis = FakeRedis::start(|command| match command[0].as_slice() {
///     b"GET" => FakeReply::line("-LOADING Redis is loading the dataset in memory"),
///     _ => FakeReply::Usual,
/// })?;
/// assert!(redis.address().port() < 32768);
/// assert_eq!(redis.commands(), 0);
/// # Ok(()) }
/// ```
pub struct FakeRedis {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

struct Shared {
    says: Mutex<Arc<Says>>,
    ended: AtomicBool,
    connections: AtomicUsize,
    commands: AtomicUsize,
}

impl FakeRedis {
    /// Starts it.
    ///
    /// # Errors
    /// No port is free.
    pub fn start(
        says: impl Fn(&[Vec<u8>]) -> FakeReply + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let listener = TcpListener::bind(address).map_err(Error::io("a fake Redis"))?;
        let shared = Arc::new(Shared {
            says: Mutex::new(Arc::new(says)),
            ended: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            commands: AtomicUsize::new(0),
        });
        let served = shared.clone();
        let listening = std::thread::spawn(move || served.listen(&listener));
        Ok(Self {
            address,
            shared,
            listening: Some(listening),
        })
    }

    /// From now on decides like this.
    pub fn say(&self, says: impl Fn(&[Vec<u8>]) -> FakeReply + Send + Sync + 'static) {
        *self
            .shared
            .says
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(says);
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL: `redis://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Connections it has accepted.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }

    /// Commands it was sent, greetings not counted.
    #[must_use]
    pub fn commands(&self) -> usize {
        self.shared.commands.load(SeqCst)
    }
}

impl std::fmt::Debug for FakeRedis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FakeRedis").field(&self.address).finish()
    }
}

impl Drop for FakeRedis {
    fn drop(&mut self) {
        self.shared.ended.store(true, SeqCst);
        // What it waits for, so that it looks.
        drop(TcpStream::connect(self.address));
        if let Some(listening) = self.listening.take() {
            // Its panic has been printed.
            let _ = listening.join();
        }
    }
}

impl Shared {
    fn listen(self: &Arc<Self>, listener: &TcpListener) {
        let mut held = Vec::new();
        for stream in listener.incoming().flatten() {
            if self.ended.load(SeqCst) {
                break;
            }
            self.connections.fetch_add(1, SeqCst);
            if let Ok(clone) = stream.try_clone() {
                held.push(clone);
            }
            let shared = self.clone();
            std::thread::spawn(move || drop(shared.serve(stream)));
        }
        // Their threads end with them.
        for stream in held {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut from = BufReader::new(stream.try_clone()?);
        loop {
            let command = read(&mut from)?;
            let greeted = command.first().is_some_and(|name| name == b"HELLO");
            if !greeted {
                self.commands.fetch_add(1, SeqCst);
            }
            let says = self
                .says
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            match says(&command) {
                FakeReply::Usual if greeted => {
                    stream
                        .write_all(b"%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n")?;
                }
                FakeReply::Usual => stream.write_all(b"+OK\r\n")?,
                FakeReply::Says(bytes) => stream.write_all(&bytes)?,
                FakeReply::Closes(bytes) => {
                    stream.write_all(&bytes)?;
                    return stream.shutdown(std::net::Shutdown::Both);
                }
                FakeReply::Silence => {}
            }
        }
    }
}

/// A command and its arguments.
fn read(from: &mut BufReader<TcpStream>) -> io::Result<Vec<Vec<u8>>> {
    let number = |line: String| {
        let digits = line
            .get(1..)
            .and_then(|digits| digits.parse::<usize>().ok());
        digits.ok_or(io::ErrorKind::InvalidData)
    };
    let count = number(line(from)?)?;
    let mut command = Vec::new();
    for _ in 0..count {
        let mut bytes = vec![0; number(line(from)?)? + 2];
        from.read_exact(&mut bytes)?;
        bytes.truncate(bytes.len() - 2);
        command.push(bytes);
    }
    Ok(command)
}
