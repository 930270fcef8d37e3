//! Every instance of every service is ended by SIGTERM and started again, one after another, while
//! orders are placed and pages are read.

use std::time::{Duration, Instant};

use anyhow::bail;
use parking_lot::Mutex;

use super::bed::{self, Bed, Part};
use crate::compare::{Metric, Sample, Scenario, Setup, Shape};
use crate::load::{Class, Plan, Step};
use crate::peers::{Peer, Running, seawall_binary, start_gateway};

/// Orders a second, and pages.
const ORDERS: f64 = 50.0;
const PAGES: f64 = 150.0;
/// How long customers wait.
const PATIENCE: Duration = Duration::from_secs(2);
/// All is well for so long first, and between two restarts.
const WARM: Duration = Duration::from_secs(2);
const BETWEEN: Duration = Duration::from_millis(500);
/// By when all have been restarted.
const LENGTH: f64 = 40.0;

/// The scenario.
#[derive(Debug)]
pub(super) struct Restart;

impl Scenario for Restart {
    fn name(&self) -> String {
        "rolling restart, every instance of every service".to_owned()
    }

    fn peers(&self) -> Vec<Peer> {
        vec![Peer::Seawall]
    }

    fn shape(&self) -> Option<&Shape> {
        None
    }

    fn run(&self, _peer: Peer, setup: &Setup) -> anyhow::Result<Sample> {
        let part = |service, instances, settings| Part {
            service,
            instances,
            settings,
            apart: false,
        };
        const CALLED: &[&str] = &["grpc.trust=internal"];
        let shop = Bed::start(
            &[
                part("catalog", 3, CALLED),
                part("notify", 2, CALLED),
                part("order", 2, &[]),
                part("worker", 2, &[]),
            ],
            &[],
        )?;
        let front = gateway(&shop)?;
        let took = Mutex::new(Vec::new());
        let seen = bed::run(&[plan(&front, setup)], |start| {
            let begin = start + WARM;
            std::thread::sleep(begin.saturating_duration_since(Instant::now()));
            for instance in &shop.instances {
                took.lock().push(shop.restart(instance)?);
                std::thread::sleep(BETWEEN);
            }
            if start.elapsed().as_secs_f64() > LENGTH {
                bail!("the restarts took longer than the load");
            }
            Ok(())
        })?;
        let took = took.into_inner();
        let slowest = took.iter().max().copied().unwrap_or_default();
        let all = seen.due("");
        let orders = seen.due("orders");
        let pages = seen.due("pages");
        let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
        let metrics = vec![
            Metric::new("failed calls", "calls", "0", (all.offered - all.ok) as f64),
            Metric::new("calls", "calls", "", all.offered as f64),
            Metric::new(
                "failed orders",
                "calls",
                "0",
                (orders.offered - orders.ok) as f64,
            ),
            Metric::new(
                "failed pages",
                "calls",
                "0",
                (pages.offered - pages.ok) as f64,
            ),
            Metric::new("restarts", "instances", "", took.len() as f64),
            Metric::new("slowest restart", "ms", "", ms(slowest)),
            Metric::new("order p99", "ms", "", ms(seen.latency("orders", 0.99))),
            Metric::new("page p99", "ms", "", ms(seen.latency("pages", 0.99))),
        ];
        Ok(Sample {
            metrics,
            lateness: seen.lateness(),
        })
    }
}

/// What customers come by: the gateway, told of the instances of order by a list. Orders carry a
/// key, so they may be sent twice.
fn gateway(shop: &Bed) -> anyhow::Result<Running> {
    let hosts = shop.http("order").into_iter();
    let hosts: Vec<_> = hosts.map(|host| format!("\"{host}\"")).collect();
    let config = format!(
        "[listeners.default]\naddress = \"127.0.0.1:{}\"\n\n\
         [context]\ntimeout = \"{}ms\"\n\n\
         [upstreams.default]\nurl = \"http://order.shop\"\nendpoints = [{}]\n\n\
         [[routes]]\npath_prefix = \"/v1/orders\"\nretry_safe = true\n",
        "@port@",
        PATIENCE.as_millis(),
        hosts.join(", "),
    );
    start_gateway(&seawall_binary()?, &config)
}

fn plan(front: &Running, setup: &Setup) -> Plan {
    let steps = |rate| vec![Step::new(rate, LENGTH)];
    let body = r#"{"customer":"ann","key":"key-@n@","lines":[{"productId":2,"quantity":1}]}"#;
    let orders = Class::new("orders", steps(ORDERS))
        .path("/v1/orders")
        .json(body)
        .timeout(PATIENCE);
    let pages = Class::new("pages", steps(PAGES))
        .path("/v1/order-pages/1")
        .timeout(PATIENCE);
    Plan {
        seed: setup.round + 1,
        ..Plan::new(front.address(), vec![orders, pages])
    }
}
