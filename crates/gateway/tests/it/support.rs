//! A gateway, origins that behave as told, and a client that sends bytes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use seawall::config::Config;
use seawall::telemetry::Log;
use seawall_gateway::{Gateway, Running, StartError};

/// What no test should take; a socket that waits so long has hung.
const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway's configuration.
pub(crate) struct Setup {
    upstream: String,
    listener: String,
    rest: String,
}

impl Setup {
    pub(crate) fn to(origin: SocketAddr) -> Self {
        Self::to_url(&format!("http://{origin}"))
    }

    pub(crate) fn to_url(url: &str) -> Self {
        Self {
            upstream: format!("url = \"{url}\"\n"),
            listener: String::new(),
            rest: String::new(),
        }
    }

    pub(crate) fn upstream(mut self, lines: &str) -> Self {
        self.upstream += lines;
        self
    }

    pub(crate) fn listener(mut self, lines: &str) -> Self {
        self.listener += lines;
        self
    }

    pub(crate) fn rest(mut self, lines: &str) -> Self {
        self.rest += lines;
        self
    }

    pub(crate) fn start(self) -> Running {
        self.start_with_log(None)
    }

    pub(crate) fn start_with_log(self, log: Option<Log>) -> Running {
        for _ in 0..10 {
            let ports = [(); 2].map(|()| seawall_testkit::free_port().unwrap());
            let text = format!(
                "{}\n[admin]\naddress = \"127.0.0.1:{}\"\n{}\n[listeners.default]\naddress = \"127.0.0.1:{}\"\n{}\n[upstreams.default]\n{}",
                self.top(),
                ports[0],
                self.admin(),
                ports[1],
                self.listener,
                self.upstream
            );
            let text = text + "\n" + self.tables();
            let config = Config::parse(&text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
            match Gateway::start_with_log(&config, log.clone()) {
                Ok(running) => return running,
                // Another test was quicker.
                Err(StartError::Bind { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        panic!("no free port");
    }

    /// Lines before the first table, `admin.` ones apart.
    fn top(&self) -> String {
        let head = self.rest.split('[').next().unwrap_or_default();
        head.lines()
            .filter(|line| !line.starts_with("token"))
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn admin(&self) -> String {
        let head = self.rest.split('[').next().unwrap_or_default();
        head.lines()
            .filter(|line| line.starts_with("token"))
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn tables(&self) -> &str {
        self.rest.find('[').map_or("", |at| &self.rest[at..])
    }
}

/// A request or response, as it came over HTTP/1.1.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message {
    pub(crate) start: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The body ended as its framing says.
    pub(crate) complete: bool,
}

impl Message {
    pub(crate) fn status(&self) -> u16 {
        self.start
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Reads start line and headers; `None` at the end of the connection.
    fn head(from: &mut impl BufRead) -> Option<Self> {
        let mut line = || {
            let mut line = String::new();
            from.read_line(&mut line).ok()?;
            line.ends_with('\n').then(|| line.trim_end().to_owned())
        };
        let mut message = Self {
            start: line()?,
            ..Self::default()
        };
        loop {
            let line = line()?;
            if line.is_empty() {
                return Some(message);
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            message
                .headers
                .push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    fn read_body(&mut self, from: &mut impl BufRead, until_close: bool) {
        if self
            .get("transfer-encoding")
            .is_some_and(|value| value.contains("chunked"))
        {
            loop {
                let mut size = String::new();
                if from.read_line(&mut size).is_err() {
                    return;
                }
                let Ok(size) = usize::from_str_radix(size.trim(), 16) else {
                    return;
                };
                let mut chunk = vec![0; size + 2];
                if from.read_exact(&mut chunk).is_err() {
                    return;
                }
                self.body.extend_from_slice(&chunk[..size]);
                if size == 0 {
                    self.complete = true;
                    return;
                }
            }
        }
        match self
            .get("content-length")
            .map(|length| length.parse::<usize>().unwrap())
        {
            Some(length) => {
                let read = from.take(length as u64).read_to_end(&mut self.body);
                self.complete = read.is_ok() && self.body.len() == length;
            }
            None if until_close => self.complete = from.read_to_end(&mut self.body).is_ok(),
            None => self.complete = true,
        }
    }

    /// A whole request; `None` for one that breaks off.
    pub(crate) fn request(from: &mut impl BufRead) -> Option<Self> {
        let mut request = Self::head(from)?;
        request.read_body(from, false);
        request.complete.then_some(request)
    }
}

/// A connection to speak HTTP/1.1 on, byte by byte.
pub(crate) struct Client {
    pub(crate) stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream: BufReader::new(stream),
        }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        // The gateway may have refused and closed before it has read all.
        let _ = self.stream.get_mut().write_all(bytes.as_ref());
        self
    }

    /// The next response; `None` if the connection ends first.
    pub(crate) fn response(&mut self) -> Option<Message> {
        let mut response = Message::head(&mut self.stream)?;
        let without = matches!(response.status(), 100..=199 | 204 | 304);
        if !without {
            response.read_body(&mut self.stream, true);
        }
        Some(response)
    }

    /// Only the head of the next response.
    pub(crate) fn head(&mut self) -> Message {
        Message::head(&mut self.stream).expect("a response")
    }

    /// Whether the other side has closed. Waits for it.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

/// Sends one request on a connection of its own.
pub(crate) fn ask(addr: SocketAddr, request: &str) -> Message {
    Client::connect(addr)
        .send(request)
        .response()
        .unwrap_or_default()
}

/// `GET` with a host.
pub(crate) fn get(addr: SocketAddr, path: &str) -> Message {
    ask(
        addr,
        &format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"),
    )
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
}

/// An origin, for as long as the test's process lives.
pub(crate) struct Origin {
    pub(crate) addr: SocketAddr,
    counts: Arc<Counts>,
}

impl Origin {
    /// `serve` gets every connection, on a thread of its own.
    pub(crate) fn raw(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        Self::counting(move |stream, _| serve(stream))
    }

    /// `answer` gets every request and the stream to answer on; true keeps the connection.
    pub(crate) fn serving(
        answer: impl Fn(&Message, &mut TcpStream) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::counting(move |mut stream, counts| {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while let Some(request) = Message::request(&mut reader) {
                counts.requests.fetch_add(1, Ordering::SeqCst);
                if !answer(&request, &mut stream) {
                    break;
                }
            }
            let _ = stream.shutdown(Shutdown::Both);
        })
    }

    fn counting(serve: impl Fn(TcpStream, &Counts) + Send + Sync + 'static) -> Self {
        let port = || SocketAddr::from(([127, 0, 0, 1], seawall_testkit::free_port().unwrap()));
        let listener = (0..10)
            .find_map(|_| TcpListener::bind(port()).ok())
            .expect("a free port");
        let addr = listener.local_addr().unwrap();
        let counts = Arc::new(Counts::default());
        let (serve, counted) = (Arc::new(serve), counts.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counted.connections.fetch_add(1, Ordering::SeqCst);
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.set_write_timeout(Some(PATIENCE)).unwrap();
                let (serve, counts) = (serve.clone(), counted.clone());
                std::thread::spawn(move || serve(stream, &counts));
            }
        });
        Self { addr, counts }
    }

    pub(crate) fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> usize {
        self.counts.requests.load(Ordering::SeqCst)
    }

    /// Answers everything with 200 and what it got, headers and body.
    pub(crate) fn echo() -> Self {
        Self::serving(|request, stream| {
            let mut body = request.start.clone() + "\n";
            for (name, value) in &request.headers {
                body += &format!("{name}: {value}\n");
            }
            body += "\n";
            body += &request.text();
            write_response(stream, "200 OK", "", body.as_bytes());
            true
        })
    }
}

pub(crate) fn write_response(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    );
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
}

/// Repeats `look` until it holds; how long that takes is not what is tested.
pub(crate) fn eventually(what: &str, mut look: impl FnMut() -> bool) {
    for _ in 0..4_000 {
        if look() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("never: {what}");
}

/// The value of a metric without labels, or with those given.
pub(crate) fn metric(running: &Running, name: &str) -> f64 {
    let metrics = get(running.admin, "/metrics").text();
    let line = metrics.lines().find(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(' '))
    });
    line.unwrap_or_else(|| panic!("no {name} in\n{metrics}"))
        .rsplit(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

/// Nothing is left over: no place taken, nobody waiting.
pub(crate) fn assert_all_free(running: &Running) {
    eventually("every place is free", || {
        metric(running, "seawall_inflight{upstream=\"default\"}") == 0.0
            && metric(running, "seawall_queued{upstream=\"default\"}") == 0.0
    });
}
