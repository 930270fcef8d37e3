//! A connection to one of a cluster's servers, shared by all who want one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use futures_util::Stream;
use http::uri::PathAndQuery;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::metadata::{AsciiMetadataValue, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::wire::{Authenticate, Authenticated};
use super::{Cluster, Error, Settings, User};

/// The largest answer: 10,000 instances of 3 KiB.
const MAX_ANSWER: usize = 32 << 20;

/// Connects to a cluster. One connection at a time, to a server taken by chance, then to the next
/// when it fails: a process costs etcd one connection, and a thousand are spread over its servers.
pub(super) struct Dial {
    cluster: Cluster,
    settings: Settings,
    next: AtomicUsize,
    link: Mutex<Option<Link>>,
}

/// A connection to a server; cheap to clone.
#[derive(Clone)]
pub(super) struct Link {
    server: Arc<str>,
    grpc: Grpc<Channel>,
    timeout: Duration,
    /// Shows who asks. It ends some time; then the connection is made anew.
    token: Option<AsciiMetadataValue>,
    /// Tells connections apart.
    made: Arc<()>,
}

impl Dial {
    pub(super) fn new(cluster: Cluster, settings: Settings) -> Self {
        Self {
            next: AtomicUsize::new(fastrand::usize(..)),
            link: Mutex::default(),
            cluster,
            settings,
        }
    }

    /// The connection there is, or a new one. Several who want it make one.
    pub(super) async fn link(&self) -> Result<Link, Error> {
        let mut held = self.link.lock().await;
        if let Some(link) = &*held {
            return Ok(link.clone());
        }
        let servers: Vec<&str> = self.cluster.servers().collect();
        let turn = self.next.fetch_add(1, Relaxed) % servers.len().max(1);
        let server: Arc<str> = servers.get(turn).copied().unwrap_or_default().into();
        let link = connect(server, &self.settings).await?;
        *held = Some(link.clone());
        Ok(link)
    }

    /// `link` has failed, or is not trusted any more: the next one is made anew, to the next server.
    pub(super) async fn broken(&self, link: &Link) {
        let mut held = self.link.lock().await;
        if held
            .as_ref()
            .is_some_and(|held| Arc::ptr_eq(&held.made, &link.made))
        {
            *held = None;
        }
    }
}

async fn connect(server: Arc<str>, settings: &Settings) -> Result<Link, Error> {
    let unreachable = |error: tonic::transport::Error| {
        // Its own words are "transport error"; the reason is beneath.
        let source = std::error::Error::source(&error).map(ToString::to_string);
        Error::Unreachable {
            server: server.clone(),
            error: source.unwrap_or_else(|| error.to_string()).into(),
        }
    };
    let endpoint = Endpoint::from_shared(format!("http://{server}"))
        .map_err(unreachable)?
        .connect_timeout(settings.timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(settings.ping)
        .keep_alive_timeout(settings.timeout)
        .keep_alive_while_idle(true);
    let connected = timeout(settings.timeout, endpoint.connect()).await;
    let channel = match connected {
        Ok(channel) => channel.map_err(unreachable)?,
        Err(_) => return Err(Error::Silent { server }),
    };
    let mut link = Link {
        grpc: Grpc::new(channel).max_decoding_message_size(MAX_ANSWER),
        server,
        timeout: settings.timeout,
        token: None,
        made: Arc::new(()),
    };
    if let Some(User { name, password }) = settings.user.clone() {
        let path = "/etcdserverpb.Auth/Authenticate";
        let known: Authenticated = link.ask(path, Authenticate { name, password }).await?;
        link.token = known.token.parse().ok();
    }
    Ok(link)
}

impl Link {
    /// One question, one answer, within the time for it.
    pub(super) async fn ask<Q, A>(&self, path: &'static str, question: Q) -> Result<A, Error>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let mut grpc = self.grpc.clone();
        let answer = async {
            grpc.ready()
                .await
                .map_err(|error| Status::unavailable(error.to_string()))?;
            let (path, codec) = (
                PathAndQuery::from_static(path),
                ProstCodec::<Q, A>::default(),
            );
            let answer = grpc.unary(self.request(question), path, codec).await?;
            Ok(answer.into_inner())
        };
        match timeout(self.timeout, answer).await {
            Ok(answer) => answer.map_err(|status| self.refused(&status)),
            Err(_) => Err(self.silent()),
        }
    }

    /// Opens a stream; what comes first on it is not awaited beyond the time for a question.
    pub(super) async fn open<Q, A>(
        &self,
        path: &'static str,
        questions: impl Stream<Item = Q> + Send + 'static,
    ) -> Result<Streaming<A>, Error>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let mut grpc = self.grpc.clone();
        let mut request = self.request(questions);
        // A server without a leader then ends the stream, rather than be silent on it.
        let leader = MetadataValue::from_static("true");
        request.metadata_mut().insert("hasleader", leader);
        let opened = async {
            grpc.ready()
                .await
                .map_err(|error| Status::unavailable(error.to_string()))?;
            let (path, codec) = (
                PathAndQuery::from_static(path),
                ProstCodec::<Q, A>::default(),
            );
            Ok(grpc.streaming(request, path, codec).await?.into_inner())
        };
        match timeout(self.timeout, opened).await {
            Ok(opened) => opened.map_err(|status| self.refused(&status)),
            Err(_) => Err(self.silent()),
        }
    }

    fn request<Q>(&self, question: Q) -> Request<Q> {
        let mut request = Request::new(question);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }

    pub(super) fn silent(&self) -> Error {
        Error::Silent {
            server: self.server.clone(),
        }
    }

    /// It ended what it should not have.
    pub(super) fn ended(&self, reason: &str) -> Error {
        Error::Refused {
            server: self.server.clone(),
            code: Code::Aborted.into(),
            error: reason.into(),
        }
    }

    pub(super) fn refused(&self, status: &Status) -> Error {
        Error::Refused {
            server: self.server.clone(),
            code: status.code().into(),
            error: status.message().into(),
        }
    }
}
