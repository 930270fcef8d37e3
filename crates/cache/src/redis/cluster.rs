//! A Cluster: who has which slot, and what to do when it is another.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;
use parking_lot::Mutex;
use redis::{Cmd, ConnectionAddr, ConnectionInfo, Value, cmd};
use tokio::time::{Instant, timeout_at};

use super::fault::Refusal;
use super::made::Made;
use super::node::Node;
use super::sentinel::at;
use super::settings::{Settings, parse};
use super::slots::{Slots, key_of, slot_of};
use super::{Fault, pipeline};

/// How many servers are asked for the map at a time.
const ASKED: usize = 3;

/// A Cluster; cheap to clone.
#[derive(Clone)]
pub(super) struct Cluster(Arc<Inner>);

struct Inner {
    seeds: Vec<ConnectionInfo>,
    settings: Settings,
    /// Every server that was heard of, by `host:port`: connections outlive maps.
    nodes: Mutex<HashMap<Arc<str>, Node>>,
    slots: Made<Arc<Slots>>,
}

/// The servers to begin with.
pub(super) fn seeds(urls: &[&str]) -> Result<Vec<ConnectionInfo>, Fault> {
    let seeds: Vec<_> = urls
        .iter()
        .map(|url| parse(url))
        .collect::<Result<_, _>>()?;
    if seeds.is_empty() {
        return Err(Fault::Url("no server of the Cluster is named"));
    }
    if seeds.iter().any(|seed| seed.redis_settings().db() != 0) {
        return Err(Fault::Url("a Cluster has database 0 alone"));
    }
    Ok(seeds)
}

impl Cluster {
    pub(super) fn new(seeds: Vec<ConnectionInfo>, settings: Settings) -> Self {
        Self(Arc::new(Inner {
            seeds,
            settings,
            nodes: Mutex::default(),
            slots: Made::new(),
        }))
    }

    pub(super) async fn one(&self, cmd: &Cmd, deadline: Instant) -> Result<Value, Refusal> {
        let slots = self.slots(deadline).await?;
        let (name, node) = self.owner(&slots, cmd)?;
        let answer = node.one(cmd, deadline).await;
        self.follow(cmd, &name, answer, deadline).await
    }

    /// In one piece by server, all servers at once.
    pub(super) async fn many(
        &self,
        cmds: Vec<Cmd>,
        deadline: Instant,
    ) -> Vec<Result<Value, Refusal>> {
        let slots = match self.slots(deadline).await {
            Ok(slots) => slots,
            Err(fault) => return vec![Err(fault.into()); cmds.len()],
        };
        let mut answers = vec![Err(Refusal::Fault(Fault::ClusterDown)); cmds.len()];
        let mut parts = HashMap::<Arc<str>, (Node, Vec<usize>)>::new();
        for (index, cmd) in cmds.iter().enumerate() {
            if let Ok((name, node)) = self.owner(&slots, cmd) {
                parts
                    .entry(name)
                    .or_insert_with(|| (node, Vec::new()))
                    .1
                    .push(index);
            }
        }
        let sent = parts.iter().map(|(name, (node, indices))| {
            let part = pipeline(indices.iter().map(|&index| cmds[index].clone()).collect());
            async move {
                let answered = node.many(&part, deadline).await;
                (name, indices, answered)
            }
        });
        let followed = join_all(sent)
            .await
            .into_iter()
            .flat_map(|(name, indices, answered)| {
                indices
                    .iter()
                    .zip(answered)
                    .map(move |(&index, answer)| (name, index, answer))
            });
        let followed = followed.map(|(name, index, answer)| {
            let cmd = &cmds[index];
            async move { (index, self.follow(cmd, name, answer, deadline).await) }
        });
        for (index, answer) in join_all(followed).await {
            answers[index] = answer;
        }
        answers
    }

    /// The masters, by `host:port`, as the map has them; a newer map is under way afterwards.
    pub(super) async fn masters(&self, deadline: Instant) -> Result<Vec<(Arc<str>, Node)>, Fault> {
        let slots = self.slots(deadline).await?;
        self.renew();
        Ok(slots
            .masters()
            .filter_map(|name| Some((name.clone(), self.node(name)?)))
            .collect())
    }

    async fn slots(&self, deadline: Instant) -> Result<Arc<Slots>, Fault> {
        let slots = timeout_at(deadline, self.0.slots.get(|| self.ask())).await;
        Ok(slots.map_err(|_| Fault::TimedOut)??.0)
    }

    fn renew(&self) {
        self.0.slots.renew(|| self.ask());
    }

    fn owner(&self, slots: &Slots, cmd: &Cmd) -> Result<(Arc<str>, Node), Fault> {
        let owner = slots.owner(slot_of(key_of(cmd)));
        let found = owner.and_then(|name| Some((name.clone(), self.node(name)?)));
        found.ok_or_else(|| {
            self.renew();
            Fault::ClusterDown
        })
    }

    /// Where a server has refused a command without doing it because the slot is another's, asks
    /// that one, once. What tells of a map that is wrong has it asked for anew.
    async fn follow(
        &self,
        cmd: &Cmd,
        from: &str,
        answer: Result<Value, Refusal>,
        deadline: Instant,
    ) -> Result<Value, Refusal> {
        let named = |to: &str| self.node(&complete(to, from));
        match answer {
            Err(Refusal::Moved(to)) => {
                self.renew();
                match named(&to) {
                    Some(node) => node.one(cmd, deadline).await,
                    None => Err(Fault::Moved.into()),
                }
            }
            Err(Refusal::Ask(to)) => match named(&to) {
                Some(node) => {
                    let both = pipeline(vec![redis::cmd("ASKING"), cmd.clone()]);
                    let mut answers = node.many(&both, deadline).await;
                    answers.pop().unwrap_or(Err(Fault::Moved.into()))
                }
                None => Err(Fault::Moved.into()),
            },
            Err(Refusal::Fault(fault)) => {
                if fault.is_outage() {
                    self.renew();
                }
                Err(fault.into())
            }
            answer => answer,
        }
    }

    /// The server of this `host:port`.
    fn node(&self, name: &str) -> Option<Node> {
        let mut nodes = self.0.nodes.lock();
        if let Some(node) = nodes.get(name) {
            return Some(node.clone());
        }
        let (host, port) = name.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let like = self.0.seeds.first()?;
        let addr = at(like, host.to_owned(), port.parse().ok()?);
        let node = Node::at(like.clone().set_addr(addr), self.0.settings);
        nodes.insert(name.into(), node.clone());
        Some(node)
    }

    /// Asks for the map: servers that are known, a few at a time, until one answers; then those that
    /// we began with, whose names may lead elsewhere by now.
    fn ask(&self) -> impl Future<Output = Result<Arc<Slots>, Fault>> + Send + 'static {
        let cluster = self.clone();
        async move {
            let mut names: Vec<Arc<str>> = cluster.0.nodes.lock().keys().cloned().collect();
            fastrand::shuffle(&mut names);
            let seeds = cluster.0.seeds.iter().map(|seed| match seed.addr() {
                ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                    format!("{host}:{port}").into()
                }
                other => other.to_string().into(),
            });
            for seed in seeds {
                if !names.contains(&seed) {
                    names.push(seed);
                }
            }
            let mut fault = Fault::ClusterDown;
            let asked = stream::iter(names).map(|name| cluster.ask_one(name));
            let mut asked = std::pin::pin!(asked.buffer_unordered(ASKED));
            while let Some(answer) = asked.next().await {
                match answer {
                    Ok(slots) => {
                        cluster.forget(&slots);
                        return Ok(Arc::new(slots));
                    }
                    Err(other) => fault = other,
                }
            }
            Err(fault)
        }
    }

    async fn ask_one(&self, name: Arc<str>) -> Result<Slots, Fault> {
        let node = self.node(&name).ok_or(Fault::Url("a port is missing"))?;
        let limit = self.0.settings.command.max(self.0.settings.connect);
        let deadline = Instant::now() + limit;
        let value = node.one(cmd("CLUSTER").arg("SLOTS"), deadline).await;
        let value = value.map_err(Refusal::fault)?;
        Slots::parse(&value, &name).ok_or_else(|| Fault::Garbage(name.clone()))
    }

    /// Servers that are in the Cluster no more are not kept.
    fn forget(&self, slots: &Slots) {
        self.0
            .nodes
            .lock()
            .retain(|name, _| slots.masters().any(|master| master == name));
    }
}

/// A server that names no host means its own.
fn complete(to: &str, from: &str) -> String {
    match (to.strip_prefix(':'), from.rsplit_once(':')) {
        (Some(port), Some((host, _))) => format!("{host}:{port}"),
        _ => to.to_owned(),
    }
}
