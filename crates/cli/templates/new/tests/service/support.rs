//! The program itself, on free ports, with a database of its own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use api::{{crate}}::v1::notes_client::NotesClient;
use seawall_testkit::{Recipe, Server, free_port};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tonic::transport::Channel;

/// How long a start may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
const NO_PROGRAM: &str = "the program starts: see its output above";
const NO_ANSWER: &str = "the program answers";

/// A running service; ended when dropped.
pub struct Service {
    pub server: Server,
    grpc: SocketAddr,
    admin: SocketAddr,
}

impl Service {
    /// Starts it with the project's own `config.toml`, and waits until it says that it is ready.
    pub async fn start() -> Self {
        let config = concat!(env!("CARGO_MANIFEST_DIR"), "/config.toml");
        let port = || free_port().expect("a free port");
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (grpc, admin) = (local(port()), local(port()));
        let program = env!("CARGO_BIN_EXE_{{name}}");
        let recipe = Recipe::command(program, "cargo builds it")
            .set("grpc", grpc)
            .set("admin", admin)
            .arguments(&["--config", config])
            .arguments(&["--set", "http.address=127.0.0.1:@port@"])
            .arguments(&["--set", "grpc.address=@grpc@"])
            .arguments(&["--set", "admin.address=@admin@"])
            .arguments(&["--set", "data.file=@dir@/notes.db"]);
        let server = Server::start(&recipe).expect(NO_PROGRAM);
        let service = Self {
            server,
            grpc,
            admin,
        };
        let ready = async {
            while !matches!(http(admin, "GET /readyz", "").await, Ok((200, _))) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, ready).await.expect("it is ready in time");
        service
    }

    /// A client by gRPC.
    pub async fn grpc(&self) -> NotesClient<Channel> {
        let channel = Channel::builder(format!("http://{}", self.grpc).parse().expect("a URL"));
        NotesClient::new(channel.connect().await.expect(NO_ANSWER))
    }

    /// A request over HTTP, `GET /v1/notes`: the status, and the body as JSON, null for none.
    pub async fn http(&self, line: &str, body: &str) -> (u16, Value) {
        let reply = http(self.server.address(), line, body).await;
        reply.expect(NO_ANSWER)
    }

    /// A request to the admin listener.
    pub async fn admin(&self, line: &str) -> (u16, Value) {
        http(self.admin, line, "").await.expect(NO_ANSWER)
    }
}

async fn http(address: SocketAddr, line: &str, body: &str) -> io::Result<(u16, Value)> {
    let request = format!(
        "{line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await?;
    let (head, body) = reply.split_once("\r\n\r\n").unwrap_or((&reply, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = serde_json::from_str(body).unwrap_or_default();
    Ok((status.unwrap_or_default(), body))
}
