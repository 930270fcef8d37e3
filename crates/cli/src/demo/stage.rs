//! One run: an origin, perhaps a gateway before it, and load on both.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use seawall_bench::load::{self, Class, Plan, Report, Step};
use seawall_bench::origin::Stats;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::child::Child;
use super::progress::Progress;
use super::report::Run;
use crate::Failure;

/// How long a child may take to listen.
const START: Duration = Duration::from_secs(5);
/// How long the bare origin is saturated to know its capacity.
const SATURATION: Duration = Duration::from_millis(1500);
/// Between two looks at the origin while it works.
const LOOK: Duration = Duration::from_millis(200);
/// Requests under way while the capacity is measured: twice the origin's slots.
const SATURATING: usize = 40;

/// The load over time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Schedule {
    /// Requests a second that the bare origin can serve.
    pub(super) capacity: f64,
    /// The phases, one after another.
    pub(super) phases: [Phase; 3],
}

/// A part of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Phase {
    pub(super) name: &'static str,
    /// Offered load as a multiple of the capacity.
    pub(super) multiple: f64,
    pub(super) lasts: Duration,
}

impl Schedule {
    pub(super) fn new(capacity: f64, seconds: f64) -> Self {
        let phase = |name, multiple, share: f64| Phase {
            name,
            multiple,
            // Whole tenths, so that bins and phases end together.
            lasts: Duration::from_secs_f64((seconds * share * 10.0).round() / 10.0),
        };
        Self {
            capacity,
            phases: [
                phase("before", 0.5, 0.2),
                phase("burst", 10.0, 0.4),
                phase("after", 0.5, 0.4),
            ],
        }
    }

    /// When the phase begins, from the start of the run.
    pub(super) fn begins(&self, phase: usize) -> Duration {
        self.phases.iter().take(phase).map(|p| p.lasts).sum()
    }

    pub(super) fn lasts(&self) -> Duration {
        self.begins(self.phases.len())
    }

    /// A class a phase, each silent in the others', so that each has latencies of its own.
    fn classes(&self) -> Vec<Class> {
        let class = |at: usize, phase: &Phase| {
            let steps = self.phases.iter().enumerate().map(|(other, step)| Step {
                lasts: step.lasts,
                rate: if other == at {
                    phase.multiple * self.capacity
                } else {
                    0.0
                },
            });
            Class::new(phase.name, steps.collect())
        };
        let phases = self.phases.iter().enumerate();
        phases.map(|(at, phase)| class(at, phase)).collect()
    }
}

/// An origin, and perhaps a gateway before it.
#[derive(Debug)]
pub(super) struct Stage {
    origin: Child,
    gateway: Option<(Child, SocketAddr)>,
    /// Where the origin listens.
    upstream: SocketAddr,
    /// Where the load goes.
    target: SocketAddr,
}

/// Saturates an origin to know what it delivers, in requests a second.
pub(super) async fn capacity() -> Result<f64, Failure> {
    Progress::say("measuring the origin's capacity");
    let mut stage = Stage::origin().await?;
    // From full to full: the first and last services are not whole.
    let edge = Duration::from_millis(80);
    let lasts = SATURATION + 2 * edge;
    let plan = Plan::saturating(stage.target, SATURATING, lasts.as_secs_f64());
    let report = stage.offer(plan, |_| {}).await?;
    let served = report.between(edge, edge + SATURATION).ok as f64;
    if served == 0.0 {
        return Err(Failure::new(
            "the origin answered nothing at all; is the loopback interface up (`ip addr show lo`)?",
        ));
    }
    Ok(served / SATURATION.as_secs_f64())
}

impl Stage {
    async fn origin() -> Result<Self, Failure> {
        let upstream = free()?;
        let mut origin = Child::origin(upstream)?;
        listens(&mut origin, upstream, "the origin").await?;
        Ok(Self {
            origin,
            gateway: None,
            upstream,
            target: upstream,
        })
    }

    /// The load goes straight to the origin.
    pub(super) async fn without() -> Result<Self, Failure> {
        Self::origin().await
    }

    /// The load goes to a gateway.
    pub(super) async fn with(
        listen: Option<SocketAddr>,
        admin: Option<SocketAddr>,
    ) -> Result<Self, Failure> {
        let stage = Self::origin().await?;
        let (listen, admin) = (given(listen)?, given(admin)?);
        let mut gateway = Child::gateway(stage.upstream, listen, admin)?;
        listens(&mut gateway, admin, "the gateway").await?;
        Ok(Self {
            gateway: Some((gateway, admin)),
            target: reachable(listen),
            ..stage
        })
    }

    /// Offers the whole schedule.
    pub(super) async fn run(
        &mut self,
        schedule: &Schedule,
        progress: &Progress,
    ) -> Result<Run, Failure> {
        let name = if self.gateway.is_some() {
            "with Seawall"
        } else {
            "without Seawall"
        };
        let before = self.stats().await.unwrap_or_default();
        let plan = Plan::new(self.target, schedule.classes());
        let mut watched = progress.run(name, schedule);
        let report = self.offer(plan, |stats| watched.look(stats)).await?;
        watched.done();
        let after = self.stats().await.unwrap_or(before);
        Ok(Run {
            report,
            origin: after.since(before),
        })
    }

    /// Runs a plan on a thread of its own, looking at the origin meanwhile.
    async fn offer(
        &mut self,
        plan: Plan,
        mut look: impl FnMut(Option<Stats>),
    ) -> Result<Report, Failure> {
        let (tell, mut told) = oneshot::channel();
        std::thread::Builder::new()
            .name("load".to_owned())
            // Nobody listens any more once the demo is interrupted.
            .spawn(move || drop(tell.send(load::run(&plan))))
            .map_err(|error| Failure::new(format!("cannot start the load: {error}")))?;
        loop {
            tokio::select! {
                report = &mut told => {
                    let report = report.map_err(|_| Failure::new("the load broke off"))?;
                    return report.map_err(|error| Failure::new(format!("cannot send load: {error}")));
                }
                () = tokio::time::sleep(LOOK) => {
                    self.still_up()?;
                    look(self.stats().await);
                }
            }
        }
    }

    fn still_up(&mut self) -> Result<(), Failure> {
        let gateway = self
            .gateway
            .as_mut()
            .map(|(child, _)| (child, "the gateway"));
        for (child, name) in [(&mut self.origin, "the origin")]
            .into_iter()
            .chain(gateway)
        {
            if let Some(said) = child.ended() {
                return Err(broke_off(name, &said));
            }
        }
        Ok(())
    }

    async fn stats(&self) -> Option<Stats> {
        let answer = get(self.upstream, "/_origin/stats");
        let text = tokio::time::timeout(LOOK, answer).await.ok()?.ok()?;
        serde_json::from_str(text.get(text.find('{')?..)?).ok()
    }

    /// What to try while it is left up.
    pub(super) fn invitation(&self) -> String {
        let (upstream, target) = (self.upstream, self.target);
        let admin = self.gateway.as_ref().map_or(target, |(_, admin)| *admin);
        format!(
            "\n\
             Still up: origin {upstream}, gateway {target}, its admin listener {admin}. Try:\n\
             \x20 curl -i http://{target}/\n\
             \x20 curl 'http://{admin}/explain?text'\n\
             \x20 curl http://{admin}/metrics\n\
             a flood of 5,000 calls, 300 at once, counted by status:\n\
             \x20 curl -sZ --parallel-immediate --parallel-max 300 -o /dev/null -w '%{{http_code}}\\n' 'http://{target}/[1-5000]' 2>/dev/null | sort | uniq -c\n\
             the origin falls to 30 %, and comes back:\n\
             \x20 curl -X POST 'http://{upstream}/_origin/capacity?slots=6'\n\
             \x20 curl -X POST 'http://{upstream}/_origin/capacity?slots=20'\n\
             Ctrl-C ends both.\n"
        )
    }

    /// Stays up until a child ends; the caller ends the wait.
    pub(super) async fn stay(mut self) -> Result<(), Failure> {
        loop {
            self.still_up()?;
            tokio::time::sleep(LOOK).await;
        }
    }
}

async fn listens(child: &mut Child, address: SocketAddr, name: &str) -> Result<(), Failure> {
    let until = Instant::now() + START;
    loop {
        // Asked first: another process could answer there.
        if let Some(said) = child.ended() {
            return Err(broke_off(name, &said));
        }
        if TcpStream::connect(reachable(address)).await.is_ok() {
            return Ok(());
        }
        if Instant::now() > until {
            let seconds = START.as_secs();
            return Err(Failure::new(format!(
                "{name} does not listen on {address} within {seconds} s; is the machine very busy?"
            )));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn broke_off(name: &str, said: &str) -> Failure {
    let said = said.trim();
    Failure::new(format!(
        "{name} ended: {}",
        said.strip_prefix("seawall: ").unwrap_or(said)
    ))
}

/// An address that is listened on, as one to connect to.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
            SocketAddr::from((Ipv4Addr::LOCALHOST, v4.port()))
        }
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, v6.port()))
        }
        address => address,
    }
}

/// An address as asked for, its port chosen where none is.
fn given(address: Option<SocketAddr>) -> Result<SocketAddr, Failure> {
    let free = free()?;
    Ok(match address {
        None => free,
        Some(asked) if asked.port() == 0 => SocketAddr::new(asked.ip(), free.port()),
        Some(asked) => asked,
    })
}

fn free() -> Result<SocketAddr, Failure> {
    let port = seawall_testkit::free_port().map_err(|error| Failure::new(error.to_string()))?;
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

async fn get(from: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(from).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {from}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_is_a_class_of_its_own() {
        let schedule = Schedule::new(1000.0, 20.0);
        assert_eq!(schedule.lasts(), Duration::from_secs(20));
        assert_eq!(schedule.begins(2), Duration::from_secs(12));
        let rates: Vec<Vec<f64>> = schedule
            .classes()
            .iter()
            .map(|class| class.steps.iter().map(|step| step.rate).collect())
            .collect();
        assert_eq!(
            rates,
            [[500.0, 0.0, 0.0], [0.0, 10_000.0, 0.0], [0.0, 0.0, 500.0]]
        );
    }

    #[test]
    fn a_port_is_chosen_where_none_is_named() {
        let named = "127.0.0.2:8080".parse().ok();
        assert_eq!(given(named).ok(), named);
        let chosen = given("127.0.0.2:0".parse().ok()).expect("a port");
        assert_eq!(chosen.ip().to_string(), "127.0.0.2");
        assert!((1024..32768).contains(&chosen.port()));
    }

    #[test]
    fn an_address_for_all_interfaces_is_reached_by_loopback() {
        let reached = |text: &str| reachable(text.parse().expect("an address")).to_string();
        assert_eq!(reached("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(reached("[::]:80"), "[::1]:80");
        assert_eq!(reached("127.0.0.2:80"), "127.0.0.2:80");
    }
}
