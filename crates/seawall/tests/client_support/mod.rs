//! Origins that can be killed, and what they saw.
#![allow(dead_code, reason = "not every test needs all of it")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use axum::Router;
use http::{Request, Response, StatusCode};
use seawall::client::{Body, Builder, Error};
use seawall::discovery::{Host, Source, Target};
use seawall_policy::retry::{Budget, BudgetSettings};
use tokio::runtime::Runtime;

/// A server of the test's own, on a runtime of its own: killing it cuts its connections, too.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Origin {
    pub(crate) fn start(router: Router) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (listener, address) = listen();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await
        });
        Self {
            address,
            runtime: Some(runtime),
        }
    }

    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    pub(crate) fn builder(&self) -> Builder {
        builder([self.address])
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A socket on a free port.
pub(crate) fn listen() -> (std::net::TcpListener, SocketAddr) {
    loop {
        let port = seawall_testkit::free_port().unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        // Another test may have been faster.
        if let Ok(listener) = std::net::TcpListener::bind(address) {
            listener.set_nonblocking(true).unwrap();
            return (listener, address);
        }
    }
}

pub(crate) fn builder(addresses: impl IntoIterator<Item = SocketAddr>) -> Builder {
    seawall::Client::builder("http://origin.test").source(source(addresses))
}

pub(crate) fn source(addresses: impl IntoIterator<Item = SocketAddr>) -> Source {
    let target = |a: SocketAddr| Target::new(Host::Ip(a.ip()), a.port());
    Source::Static(addresses.into_iter().map(target).collect())
}

/// Counts.
#[derive(Clone, Default)]
pub(crate) struct Count(Arc<AtomicUsize>);

impl Count {
    pub(crate) fn add(&self) -> usize {
        self.0.fetch_add(1, SeqCst)
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(SeqCst)
    }
}

pub(crate) const MS: Duration = Duration::from_millis(1);

pub(crate) fn get() -> Request<Body> {
    Request::get("http://origin.test/x")
        .body(Body::empty())
        .unwrap()
}

pub(crate) fn reply(status: StatusCode) -> Response<Body> {
    let mut reply = Response::new(Body::from("answer"));
    *reply.status_mut() = status;
    reply
}

pub(crate) fn budget(floor: f64) -> Arc<Budget> {
    Arc::new(Budget::new(&BudgetSettings {
        floor,
        ..BudgetSettings::default()
    }))
}

/// Reads a body to its end.
pub(crate) async fn read(
    reply: Response<impl http_body::Body<Data = bytes::Bytes, Error: Into<Error>> + Send + 'static>,
) -> String {
    let bytes = http_body_util::BodyExt::collect(reply.into_body()).await;
    let bytes = bytes.map_err(Into::into).unwrap().to_bytes();
    String::from_utf8(bytes.into()).unwrap()
}
