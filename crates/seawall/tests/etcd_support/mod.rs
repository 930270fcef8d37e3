//! What the tests of etcd share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use parking_lot::Mutex;
use seawall::discovery::etcd::{self, Etcd, Service};
use seawall::discovery::{
    Discovery, Endpoint, Endpoints, Instance, Registration, RegistrationState, Registry, Settings,
    Source,
};
use seawall_testkit::{Recipe, Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

pub(crate) fn server() -> Server {
    Server::start(&Recipe::etcd()).expect("etcd")
}

/// As the defaults, and quicker: what takes seconds there takes a fraction of one.
pub(crate) fn settings() -> etcd::Settings {
    etcd::Settings {
        ttl: Duration::from_secs(2),
        quiet: Duration::from_millis(300),
        spread: Duration::from_millis(200),
        retry_cap: Duration::from_millis(400),
        ..etcd::Settings::default()
    }
}

/// For what hangs; on a busy machine a server that works may seem to.
pub(crate) fn impatient() -> etcd::Settings {
    etcd::Settings {
        timeout: Duration::from_millis(700),
        ..settings()
    }
}

pub(crate) fn discovery(etcd: etcd::Settings) -> Discovery {
    Discovery::new(Settings {
        etcd,
        ..Settings::default()
    })
}

pub(crate) fn registry(address: SocketAddr) -> Etcd {
    let cluster = format!("etcd://{address}/seawall").parse();
    Etcd::new(cluster.expect("a cluster"), settings())
}

pub(crate) fn service(address: SocketAddr) -> Service {
    let service = format!("etcd://{address}/seawall/orders").parse();
    service.expect("a service")
}

pub(crate) fn instance(n: u16) -> Instance {
    let addresses = [
        format!("http://10.0.0.7:{n}"),
        format!("grpc://10.0.0.7:{}", n + 1000),
    ];
    let addresses = addresses.map(|text| text.parse().expect("an address"));
    Instance::new("orders", format!("orders-{n}"), addresses)
}

pub(crate) async fn registered(etcd: &Etcd, n: u16) -> Registration {
    let registration = etcd.register(instance(n));
    stands(&registration, &RegistrationState::Registered).await;
    registration
}

pub(crate) async fn stands(registration: &Registration, state: &RegistrationState) {
    let found = soon(registration.wait_for(|now| now == state)).await;
    assert_eq!(found, *state);
}

pub(crate) fn follow(discovery: &Discovery, address: SocketAddr) -> Endpoints {
    discovery.start(Source::Etcd(service(address)))
}

pub(crate) fn ports(list: &[Endpoint]) -> Vec<u16> {
    list.iter().map(|e| e.address.port()).collect()
}

/// Waits until the list is this.
pub(crate) async fn lists(endpoints: &Endpoints, expected: &[u16]) {
    let mut now = endpoints.versioned();
    let found = timeout(PATIENCE, async {
        while ports(&now.value) != expected {
            now = endpoints.changed(now.version).await;
        }
    });
    let found = found.await;
    assert!(
        found.is_ok(),
        "{:?} for {expected:?}: {:?}",
        ports(&endpoints.current()),
        endpoints.state()
    );
}

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}

pub(crate) async fn until(mut condition: impl AsyncFnMut() -> bool) {
    soon(async {
        while !condition().await {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// A number that etcd counts, by its name and labels as it prints them.
pub(crate) async fn counted(address: SocketAddr, name: &str) -> u64 {
    let text = get(address, "/metrics").await;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|rest| rest.trim().parse::<f64>().ok());
    value.unwrap_or(0.0) as u64
}

/// Ranges of a program, and watches that are open.
pub(crate) async fn ranges(address: SocketAddr) -> u64 {
    let labels = "grpc_method=\"Range\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"";
    counted(address, &format!("grpc_server_started_total{{{labels}}}")).await
}

pub(crate) async fn authentications(address: SocketAddr) -> u64 {
    let labels =
        "grpc_method=\"Authenticate\",grpc_service=\"etcdserverpb.Auth\",grpc_type=\"unary\"";
    counted(address, &format!("grpc_server_started_total{{{labels}}}")).await
}

/// How often a watch was asked for a sign: what was sent on watches, but for what opened them.
pub(crate) async fn asked_for_progress(address: SocketAddr) -> u64 {
    let labels =
        "grpc_method=\"Watch\",grpc_service=\"etcdserverpb.Watch\",grpc_type=\"bidi_stream\"";
    let of = |what: &str| format!("grpc_server_{what}_total{{{labels}}}");
    let received = counted(address, &of("msg_received")).await;
    received.saturating_sub(counted(address, &of("started")).await)
}

pub(crate) async fn watchers(address: SocketAddr) -> u64 {
    counted(address, "etcd_debugging_mvcc_watcher_total").await
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("etcd");
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("etcd");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("text");
    text
}

/// Asks etcd something through its JSON gateway; keys and values are in base64.
pub(crate) async fn json(address: SocketAddr, path: &str, body: &str) -> String {
    json_with(address, "", path, body).await
}

/// With a token.
pub(crate) async fn json_with(address: SocketAddr, token: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("etcd");
    let length = body.len();
    let token = match token {
        "" => String::new(),
        token => format!("authorization: {token}\r\n"),
    };
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: a\r\n{token}connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.expect("etcd");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("text");
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    text
}

/// How many keys there are.
pub(crate) async fn keys(address: SocketAddr) -> usize {
    let body = r#"{"key": "Lw==", "range_end": "MA=="}"#;
    let text = json(address, "/v3/kv/range", body).await;
    text.matches(r#""mod_revision""#).count()
}

/// How many leases there are.
pub(crate) async fn leases(address: SocketAddr) -> usize {
    let text = json(address, "/v3/lease/leases", "{}").await;
    text.matches(r#""ID""#).count()
}

/// A way to a server that can be cut, or be held still with its connections open.
pub(crate) struct Way {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    connections: AtomicUsize,
    /// When each was made.
    made: Mutex<Vec<std::time::Instant>>,
    held: tokio::sync::RwLock<()>,
    cut: tokio::sync::Notify,
}

impl Way {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let way = Self {
            address: listener.local_addr().expect("an address"),
            state: Arc::default(),
        };
        let state = way.state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                state.connections.fetch_add(1, SeqCst);
                state.made.lock().push(std::time::Instant::now());
                tokio::spawn(carry(client, server, state.clone()));
            }
        });
        way
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(SeqCst)
    }

    pub(crate) fn made(&self) -> Vec<std::time::Instant> {
        self.state.made.lock().clone()
    }

    /// Closes every connection; new ones are accepted.
    pub(crate) fn cut(&self) {
        self.state.cut.notify_waiters();
    }

    /// Lets nothing through while the guard lives, and tells nobody.
    pub(crate) async fn hold(&self) -> tokio::sync::RwLockWriteGuard<'_, ()> {
        self.state.held.write().await
    }
}

async fn carry(client: TcpStream, server: SocketAddr, state: Arc<State>) {
    let cut = state.cut.notified();
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
    tokio::select! {
        () = pass(from_client, to_server, &state) => {}
        () = pass(from_server, to_client, &state) => {}
        () = cut => {}
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    state: &State,
) {
    let mut bytes = vec![0; 16 << 10];
    while let Ok(n @ 1..) = from.read(&mut bytes).await {
        let _way = state.held.read().await;
        if to.write_all(&bytes[..n]).await.is_err() {
            return;
        }
    }
}
