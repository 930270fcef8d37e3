//! The service on two sockets, and clients that know nothing but HTTP and gRPC.

use std::net::{Ipv4Addr, SocketAddr};

use ::echo::v1::echo_client::EchoClient;
use ::echo::{Echo, v1};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use seawall::api::Service;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};

/// Both servers; they end with the test's runtime.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    http: SocketAddr,
    grpc: SocketAddr,
}

pub(crate) async fn serve() -> Served {
    serve_this(v1::echo::service(Echo)).await
}

pub(crate) async fn serve_this(service: Service) -> Served {
    let http = listener().await;
    let grpc = listener().await;
    let served = Served {
        http: http.local_addr().unwrap(),
        grpc: grpc.local_addr().unwrap(),
    };
    let router = service.http.into_router();
    tokio::spawn(async move { axum::serve(http, router).await });
    let server = Server::builder().add_routes(service.grpc);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(grpc)));
    served
}

async fn listener() -> TcpListener {
    loop {
        let port = seawall_testkit::free_port().unwrap();
        // Another test may have been faster.
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            return listener;
        }
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

impl Served {
    pub(crate) fn grpc_url(&self) -> String {
        format!("http://{}", self.grpc)
    }

    pub(crate) async fn grpc(&self) -> EchoClient<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.grpc)).unwrap();
        EchoClient::new(endpoint.connect().await.unwrap())
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<Bytes>) -> Reply {
        self.call("POST", path, &[("content-type", "application/json")], body)
            .await
    }

    pub(crate) async fn call(
        &self,
        verb: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        let reply = self.raw(verb, path, headers, body).await;
        let (parts, body) = reply.into_parts();
        Reply {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    pub(crate) async fn raw(
        &self,
        verb: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response<hyper::body::Incoming> {
        let stream = TcpStream::connect(self.http).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(verb)
            .uri(path)
            .header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        sender.send_request(request).await.unwrap()
    }
}
