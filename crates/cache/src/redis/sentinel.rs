//! Where the master is, as Sentinels have it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, Value, cmd};
use tokio::time::{Instant, timeout_at};

use super::Fault;
use super::fault::{Refusal, answer, broken};
use super::node::{Find, Place};
use super::settings::parse;

/// The Sentinels and whom to ask them for.
#[derive(Clone)]
pub(super) struct Sentinels {
    sentinels: Arc<[ConnectionInfo]>,
    master: Arc<str>,
    /// How to log in to the master; its address is a placeholder.
    login: ConnectionInfo,
}

impl Sentinels {
    pub(super) fn new(urls: &[&str], master: &str) -> Result<Self, Fault> {
        if urls.is_empty() {
            return Err(Fault::Url("no Sentinel is named"));
        }
        let sentinels = urls
            .iter()
            .map(|url| parse(url))
            .collect::<Result<_, _>>()?;
        let url = match master.contains("://") {
            true => master.to_owned(),
            false => format!("redis://{master}"),
        };
        let login = parse(&url)?;
        let (ConnectionAddr::Tcp(name, _) | ConnectionAddr::TcpTls { host: name, .. }) =
            login.addr()
        else {
            return Err(Fault::Url("a master has a name, not a path"));
        };
        Ok(Self {
            sentinels,
            master: name.as_str().into(),
            login,
        })
    }

    pub(super) fn name(&self) -> String {
        let sentinels: Vec<_> = self
            .sentinels
            .iter()
            .map(|at| at.addr().to_string())
            .collect();
        format!("{} by {}", self.master, sentinels.join(","))
    }

    /// Asks them; not for longer than half of `limit`, so that time is left to connect.
    pub(super) fn find(self, limit: Duration) -> Find {
        Arc::new(move || {
            let sentinels = self.clone();
            Box::pin(async move { sentinels.ask(Instant::now() + limit / 2).await })
        })
    }

    /// All at once, until most of them agree, or all have answered, or time is up: one that was cut
    /// off names a master of old, and one that is frozen nobody.
    async fn ask(&self, deadline: Instant) -> Result<Place, Fault> {
        let mut asked: FuturesUnordered<_> = self
            .sentinels
            .iter()
            .map(|sentinel| self.ask_one(sentinel.clone()))
            .collect();
        let mut votes: Vec<(ConnectionAddr, usize)> = Vec::new();
        let mut fault = Fault::TimedOut;
        while let Ok(Some(answered)) = timeout_at(deadline, asked.next()).await {
            let addr = match answered {
                Ok(addr) => addr,
                Err(other) => {
                    fault = other;
                    continue;
                }
            };
            let at = votes.iter().position(|(known, _)| *known == addr);
            let at = at.unwrap_or_else(|| {
                votes.push((addr, 0));
                votes.len() - 1
            });
            votes[at].1 += 1;
            if votes[at].1 > self.sentinels.len() / 2 {
                break;
            }
        }
        let (addr, _) = votes
            .into_iter()
            .max_by_key(|(_, votes)| *votes)
            .ok_or(fault)?;
        Ok(Place {
            info: self.login.clone().set_addr(addr),
            master: true,
        })
    }

    async fn ask_one(&self, sentinel: ConnectionInfo) -> Result<ConnectionAddr, Fault> {
        let server = sentinel.addr().to_string();
        let failed = |error| broken(&server, &error);
        let client = Client::open(sentinel).map_err(failed)?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .map_err(failed)?;
        let mut ask = cmd("SENTINEL");
        ask.arg("GET-MASTER-ADDR-BY-NAME").arg(&*self.master);
        let said = connection.send_packed_command(&ask).await.map_err(failed)?;
        let Value::Array(parts) = answer(said).map_err(Refusal::fault)? else {
            let text = format!("{server} knows no master {:?}", self.master);
            return Err(Fault::Unreachable(text.into()));
        };
        let text = |at: usize| match parts.get(at) {
            Some(Value::BulkString(bytes)) => String::from_utf8(bytes.clone()).ok(),
            _ => None,
        };
        let port = text(1).and_then(|port| port.parse().ok());
        match (text(0), port) {
            (Some(host), Some(port)) => Ok(at(&self.login, host, port)),
            _ => Err(Fault::Garbage(server.into())),
        }
    }
}

/// Another address, reached as this one is.
pub(super) fn at(like: &ConnectionInfo, host: String, port: u16) -> ConnectionAddr {
    match like.addr().clone() {
        ConnectionAddr::TcpTls {
            insecure,
            tls_params,
            ..
        } => ConnectionAddr::TcpTls {
            host,
            port,
            insecure,
            tls_params,
        },
        _ => ConnectionAddr::Tcp(host, port),
    }
}
