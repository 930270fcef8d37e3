//! One server: a connection that is made when it is wanted, and limits on whatever uses it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionInfo, Pipeline, PushInfo, Value};
use tokio::time::{Instant, timeout, timeout_at};

use super::Fault;
use super::fault::{Refusal, answer, broken};
use super::made::Made;
use super::settings::Settings;

/// What a connection is handed that nobody asked for.
pub(crate) type Pushed = Arc<dyn Fn(PushInfo) + Send + Sync>;

/// Finds out where to connect to.
pub(super) type Find =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Place, Fault>> + Send>> + Send + Sync>;

/// A server, and whether it has to be a master.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) info: ConnectionInfo,
    pub(super) master: bool,
}

/// One server; cheap to clone.
#[derive(Clone)]
pub(super) struct Node {
    find: Find,
    /// Where it is may change.
    seeks: bool,
    settings: Settings,
    made: Made<Connection>,
}

#[derive(Clone)]
struct Connection {
    commands: MultiplexedConnection,
    server: Arc<str>,
    opened: Instant,
    /// When, in nanoseconds after `opened` and at least 1, the first command failed for want of an
    /// answer since there was one; 0: none has.
    silent: Arc<AtomicU64>,
}

impl Node {
    /// One that has to be found before each connection.
    pub(super) fn new(find: Find, settings: Settings) -> Self {
        Self {
            find,
            seeks: true,
            settings,
            made: Made::new(),
        }
    }

    /// One that stays where it is.
    pub(super) fn at(info: ConnectionInfo, settings: Settings) -> Self {
        let place = Place {
            info,
            master: false,
        };
        Self {
            seeks: false,
            ..Self::new(
                Arc::new(move || Box::pin(std::future::ready(Ok(place.clone())))),
                settings,
            )
        }
    }

    pub(super) fn limit(&self) -> Duration {
        self.settings.connect
    }

    /// Sends one command and waits for its answer. Not sent again, whatever happens.
    pub(super) async fn one(&self, cmd: &Cmd, deadline: Instant) -> Result<Value, Refusal> {
        let (value, number) = self
            .with(deadline, async |connection| {
                connection.send_packed_command(cmd).await
            })
            .await?;
        let answer = answer(value);
        self.look(&answer, number);
        answer
    }

    /// Sends all of them in one piece and waits for every answer.
    pub(super) async fn many(
        &self,
        cmds: &Pipeline,
        deadline: Instant,
    ) -> Vec<Result<Value, Refusal>> {
        let count = cmds.len();
        if count == 0 {
            return Vec::new();
        }
        let values = self
            .with(deadline, async |connection| {
                connection.send_packed_commands(cmds, 0, count).await
            })
            .await;
        let (values, number) = match values {
            Ok((values, number)) if values.len() == count => (values, number),
            Ok(_) => {
                let fault = Fault::Unexpected("fewer answers than commands".into());
                return vec![Err(fault.into()); count];
            }
            Err(fault) => return vec![Err(fault.into()); count],
        };
        let answers: Vec<_> = values.into_iter().map(answer).collect();
        answers.iter().for_each(|answer| self.look(answer, number));
        answers
    }

    /// A master that says it is none has been replaced: where it is will be asked again.
    fn look(&self, answer: &Result<Value, Refusal>, number: u64) {
        if self.seeks
            && let Err(Refusal::Fault(fault @ Fault::ReadOnly)) = answer
        {
            self.made.void(number, fault);
        }
    }

    async fn with<R>(
        &self,
        deadline: Instant,
        send: impl AsyncFnOnce(&mut MultiplexedConnection) -> Result<R, redis::RedisError>,
    ) -> Result<(R, u64), Fault> {
        let found = timeout_at(deadline, self.made.get(|| self.connect())).await;
        let (mut connection, number) = found.map_err(|_| Fault::TimedOut)??;
        match timeout_at(deadline, send(&mut connection.commands)).await {
            Ok(Ok(answered)) => {
                if connection.silent.load(Relaxed) != 0 {
                    connection.silent.store(0, Relaxed);
                }
                Ok((answered, number))
            }
            Ok(Err(error)) => {
                let fault = broken(&connection.server, &error);
                self.lost(number, &connection, &fault);
                Err(fault)
            }
            Err(_) => {
                if connection.gone(&self.settings) {
                    self.lost(number, &connection, &Fault::TimedOut);
                }
                Err(Fault::TimedOut)
            }
        }
    }

    fn lost(&self, number: u64, connection: &Connection, fault: &Fault) {
        tracing::debug!(server = %connection.server, %fault, "connection to Redis given up");
        self.made.void(number, fault);
    }

    fn connect(&self) -> impl Future<Output = Result<Connection, Fault>> + Send + 'static {
        let dialled = self.dial(None);
        async move {
            let (commands, server) = dialled.await?;
            Ok(Connection {
                commands,
                server,
                opened: Instant::now(),
                silent: Arc::default(),
            })
        }
    }

    /// A connection of one's own. What it is sent unasked goes to `pushed`, in order with the
    /// answers, on the connection's task.
    pub(super) fn dial(
        &self,
        pushed: Option<Pushed>,
    ) -> impl Future<Output = Result<(MultiplexedConnection, Arc<str>), Fault>> + Send + 'static
    {
        let find = self.find.clone();
        let limit = self.settings.connect;
        async move {
            let attempt = async {
                let place = find().await?;
                let server: Arc<str> = place.info.addr().to_string().into();
                let failed = |error| broken(&server, &error);
                let mut config = AsyncConnectionConfig::new()
                    // Both are kept here, where a deadline is.
                    .set_connection_timeout(None)
                    .set_response_timeout(None);
                if let Some(pushed) = pushed {
                    config = config.set_push_sender(move |info| {
                        pushed(info);
                        Ok::<(), ()>(())
                    });
                }
                let client = Client::open(place.info).map_err(failed)?;
                let mut connection = client
                    .get_multiplexed_async_connection_with_config(&config)
                    .await
                    .map_err(failed)?;
                if place.master {
                    is_master(&mut connection).await.map_err(failed)??;
                }
                Ok((connection, server.clone()))
            };
            timeout(limit, attempt)
                .await
                .unwrap_or(Err(Fault::TimedOut))
        }
    }
}

/// Sentinels may name a server that has just ceased to be master.
async fn is_master(
    connection: &mut MultiplexedConnection,
) -> Result<Result<(), Fault>, redis::RedisError> {
    let role = connection.send_packed_command(&redis::cmd("ROLE")).await?;
    Ok(match role {
        Value::Array(parts) => match parts.first() {
            Some(Value::BulkString(name)) if name == b"master" => Ok(()),
            _ => Err(Fault::ReadOnly),
        },
        value => answer(value).map(|_| ()).map_err(Refusal::fault),
    })
}

impl Connection {
    /// After a command without an answer: whether there has been none for so long that the peer may
    /// have gone without a word, which TCP notices after a quarter of an hour.
    fn gone(&self, settings: &Settings) -> bool {
        let now = Instant::now()
            .saturating_duration_since(self.opened)
            .as_nanos();
        let now = u64::try_from(now).unwrap_or(u64::MAX).max(1);
        match self.silent.compare_exchange(0, now, Relaxed, Relaxed) {
            Ok(_) => false,
            Err(since) => u128::from(now.saturating_sub(since)) >= settings.connect.as_nanos(),
        }
    }
}
