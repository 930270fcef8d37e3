//! Keeps instances registered.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::stream;
use tokio::time::timeout;
use tonic::Code;

use super::super::registry::{Instance, Registering, Registration, RegistrationState, Registry};
use super::super::resolver::Ticks;
use super::lease::{Answer, Ask, Lease, Standing};
use super::link::{Dial, Link};
use super::view::Value;
use super::wire::{
    Compare, Compared, Done, GrantRequest, LeaseRequest, LeaseResponse, Operated, Operation,
    PutRequest, RangeRequest, TxnRequest, TxnResponse,
};
use super::{Cluster, Error, Settings, keys};

/// An etcd as a registry; cheap to clone, and all clones share a connection.
#[derive(Clone)]
pub struct Etcd {
    cluster: Cluster,
    settings: Settings,
    dial: Arc<Dial>,
}

impl Etcd {
    /// Connects to nothing yet.
    #[must_use]
    pub fn new(cluster: Cluster, settings: Settings) -> Self {
        let settings = settings.in_range();
        Self {
            dial: Arc::new(Dial::new(cluster.clone(), settings.clone())),
            cluster,
            settings,
        }
    }

    /// Where it is.
    #[must_use]
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Etcd")
            .field(&self.cluster.to_string())
            .finish()
    }
}

impl Registry for Etcd {
    /// # Panics
    /// Outside of a tokio runtime with I/O and time. When the runtime ends, so does the lease, after
    /// its time.
    fn register(&self, instance: Instance) -> Registration {
        let (registration, registering) = Registration::new(instance);
        let instance = registering.instance();
        let key = keys::of_instance(&self.cluster, &instance.service, &instance.id);
        let keeper = Keeper {
            value: value(instance, false),
            gone: value(instance, true),
            key: key.into_bytes(),
            dial: self.dial.clone(),
            settings: self.settings.clone(),
            lease: Lease::new(self.settings.ttl),
            registering,
        };
        tokio::spawn(keeper.run());
        registration
    }
}

fn value(instance: &Instance, leaving: bool) -> Vec<u8> {
    // Text keys and plain values: nothing that JSON cannot hold.
    serde_json::to_vec(&Value { instance, leaving }).unwrap_or_default()
}

/// The task behind a registration.
struct Keeper {
    key: Vec<u8>,
    value: Vec<u8>,
    gone: Vec<u8>,
    dial: Arc<Dial>,
    settings: Settings,
    lease: Lease,
    registering: Registering,
}

impl Keeper {
    async fn run(mut self) {
        let ticks = Ticks::start();
        loop {
            let (due, ask) = self.lease.next();
            let asked = async {
                ticks.until(due).await;
                self.ask(ask).await
            };
            let (answer, error) = match select(pin!(self.registering.unwanted()), pin!(asked)).await
            {
                // What was asked may be done all the same; the lease that is revoked covers it.
                Either::Left(_) => break,
                Either::Right((Ok(answer), _)) => (answer, None),
                Either::Right((Err(error), _)) => (Answer::Failed, Some(error)),
            };
            self.lease.answer(answer, ticks.now(), fastrand::u64(..));
            self.tell(answer, error);
        }
        let end = match timeout(self.settings.timeout, self.leave()).await {
            Ok(Ok(())) => RegistrationState::Deregistered,
            Ok(Err(error)) => RegistrationState::Abandoned(error.to_string().into()),
            Err(_) => RegistrationState::Abandoned("no answer in time".into()),
        };
        self.registering.report(end);
    }

    /// Says once that something goes wrong, and once that it is well again.
    fn tell(&self, answer: Answer, error: Option<Error>) {
        let why: Option<Arc<str>> = match (answer, error) {
            (_, Some(error)) => Some(error.to_string().into()),
            (Answer::NoLease, None) => Some("the lease has ended".into()),
            _ => None,
        };
        let before = self.registering.state();
        let state = match (self.lease.standing(), why) {
            (Standing::Pending, None) => return,
            (Standing::Pending, why) => RegistrationState::Pending(why),
            (Standing::Registered, _) => RegistrationState::Registered,
            (Standing::Uncertain, Some(why)) => RegistrationState::Uncertain(why),
            (Standing::Uncertain, None) => return,
            (Standing::Replaced, _) => RegistrationState::Replaced,
        };
        let key = String::from_utf8_lossy(&self.key);
        match (&before, &state) {
            (before, state) if before == state => return,
            (_, RegistrationState::Registered) => tracing::info!(%key, "registered"),
            (_, RegistrationState::Replaced) => {
                tracing::warn!(%key, "another of the same id is registered; ids must differ");
            }
            (_, state) => tracing::warn!(%key, ?state, "registration fails; it is tried again"),
        }
        self.registering.report(state);
    }

    async fn ask(&self, ask: Ask) -> Result<Answer, Error> {
        // A renewal that takes longer than its turn would make the next one late.
        let longest = self.settings.timeout.min(self.settings.ttl / 3);
        let link = self.dial.link().await?;
        let answer = match timeout(longest, self.ask_on(&link, ask)).await {
            Ok(answer) => answer,
            Err(_) => Err(link.silent()),
        };
        match answer {
            Err(Error::Refused { code, .. }) if code == i32::from(Code::NotFound) => {
                Ok(Answer::NoLease)
            }
            Err(error) => {
                self.dial.broken(&link).await;
                Err(error)
            }
            answer => answer,
        }
    }

    async fn ask_on(&self, link: &Link, ask: Ask) -> Result<Answer, Error> {
        match ask {
            Ask::Grant => {
                let ttl = i64::try_from(self.settings.ttl.as_secs()).unwrap_or(i64::MAX);
                let path = "/etcdserverpb.Lease/LeaseGrant";
                let granted: LeaseResponse = link.ask(path, GrantRequest { ttl }).await?;
                Ok(Answer::Granted {
                    lease: granted.id,
                    ttl: seconds(granted.ttl),
                })
            }
            Ask::Put(lease) => {
                let put = self.put(&self.value, lease);
                let _: Done = link.ask("/etcdserverpb.KV/Put", put).await?;
                Ok(Answer::Owned(lease))
            }
            Ask::PutIfAbsent(lease) => {
                let absent = self.compare(0, Compared::Version(0));
                let put = Operated::Put(self.put(&self.value, lease));
                let answer = self.transact(link, absent, put).await?;
                Ok(Answer::Owned(answer.unwrap_or(lease)))
            }
            Ask::KeepAlive(id) => {
                let once = stream::iter([LeaseRequest { id }]);
                let path = "/etcdserverpb.Lease/LeaseKeepAlive";
                let mut answers = link.open::<_, LeaseResponse>(path, once).await?;
                let answer = answers.message().await;
                let answer = answer.map_err(|status| link.refused(&status))?;
                let renewed = answer.ok_or_else(|| link.ended("no answer to a renewal"))?;
                Ok(if renewed.ttl > 0 {
                    Answer::Renewed
                } else {
                    Answer::NoLease
                })
            }
        }
    }

    /// Does it where the comparison holds; else tells the lease that the key is under, 0 for none.
    async fn transact(
        &self,
        link: &Link,
        compare: Compare,
        then: Operated,
    ) -> Result<Option<i64>, Error> {
        let range = RangeRequest {
            key: self.key.clone(),
            ..RangeRequest::default()
        };
        let operation = |request| Operation {
            request: Some(request),
        };
        let transaction = TxnRequest {
            compare: vec![compare],
            success: vec![operation(then)],
            failure: vec![operation(Operated::Range(range))],
        };
        let answer: TxnResponse = link.ask("/etcdserverpb.KV/Txn", transaction).await?;
        let outcome = answer.responses.first().filter(|_| !answer.succeeded);
        let found = outcome.map(|outcome| outcome.range.iter().flat_map(|range| &range.kvs));
        Ok(found.map(|mut kvs| kvs.next().map_or(0, |kv| kv.lease)))
    }

    fn put(&self, value: &[u8], lease: i64) -> PutRequest {
        PutRequest {
            key: self.key.clone(),
            value: value.to_vec(),
            lease,
        }
    }

    fn compare(&self, target: i32, with: Compared) -> Compare {
        Compare {
            result: 0,
            target,
            key: self.key.clone(),
            with: Some(with),
        }
    }

    /// Says that it leaves, so that nobody takes it for one that has only vanished, and goes.
    async fn leave(&self) -> Result<(), Error> {
        let Some(id) = self.lease.lease() else {
            return Ok(());
        };
        let mut last = Ok(());
        // A connection that has just failed, or a server that is away, is no reason to give up.
        for _ in 0..3 {
            let link = match self.dial.link().await {
                Ok(link) => link,
                Err(error) => {
                    last = Err(error);
                    continue;
                }
            };
            match self.leave_on(&link, id).await {
                Err(Error::Refused { code, .. }) if code == i32::from(Code::NotFound) => {
                    return Ok(());
                }
                Ok(()) => return Ok(()),
                failed => last = failed,
            }
            self.dial.broken(&link).await;
        }
        last
    }

    async fn leave_on(&self, link: &Link, id: i64) -> Result<(), Error> {
        let ours = self.compare(4, Compared::Lease(id));
        let gone = Operated::Put(self.put(&self.gone, id));
        self.transact(link, ours, gone).await?;
        let _: Done = link
            .ask("/etcdserverpb.Lease/LeaseRevoke", LeaseRequest { id })
            .await?;
        Ok(())
    }
}

fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
}
