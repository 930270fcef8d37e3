//! Ended at each step of its start and its end, by all that can end it.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use seawall::Client;
use seawall::discovery::Source;
use seawall_testkit::Server;

use crate::app_support::see;
use crate::etcd_support::{self as etcd, keys, leases, until};
use crate::instance::{Instance, TTL, Wanted};
use crate::load::{Load, orders, reads};

/// Where it can stay, and whether it does so only once it has been told to end. `delay` is a wait of
/// the program's own; at `serving` it runs.
const STEPS: [(&str, bool); 9] = [
    ("before_start", false),
    ("start", false),
    ("after_start", false),
    ("serving", false),
    ("delay", true),
    ("before_stop", true),
    ("drain", true),
    ("stop", true),
    ("after_stop", true),
];

/// What etcd may take beyond a lease's time to end it (it looks twice a second), and to be asked.
const SLACK: Duration = Duration::from_millis(1_500);

fn wanted(id: &'static str, etcd: &Server, step: &'static str) -> Wanted {
    Wanted {
        hold: step,
        delay: if step == "delay" { "60s" } else { "100ms" },
        ..Wanted::new(id, etcd.address())
    }
}

/// Starts one and brings it to where it stays.
async fn at(step: &'static str, ending: bool, wanted: &Wanted, etcd: &Server) -> Instance {
    let instance = Instance::start(wanted, etcd.directory());
    if ending || step == "serving" {
        instance.says("ready\n").await;
    }
    if ending {
        instance.signal(Signal::TERM);
    }
    match step {
        "serving" => {}
        "delay" => instance.says("leaving\n").await,
        _ => instance.held().await,
    }
    instance
}

fn client(etcd: &Server) -> Client {
    let builder = Client::builder("http://demo").source(source(etcd));
    builder.coalesce_limit(0).build().unwrap()
}

fn source(etcd: &Server) -> Source {
    let service = format!("etcd://{}/seawall/demo scheme=http", etcd.address());
    service.parse().unwrap()
}

/// It starts anew with the same id and ports, serves, and ends well.
async fn starts_again(wanted: &Wanted, etcd: &Server, others: usize) {
    let again = Wanted {
        hold: "",
        delay: "100ms",
        ..wanted.clone()
    };
    let instance = Instance::ready(&again, etcd.directory()).await;
    let (status, said) = see(again.http(), "/v1/greet/sea").await;
    assert_eq!((status, said.as_str()), (200, "hello, sea"));
    until(async || keys(etcd.address()).await == others + 1).await;
    instance.signal(Signal::TERM);
    assert_eq!(instance.ended().await, Some(0));
    assert_eq!(keys(etcd.address()).await, others);
    until(async || leases(etcd.address()).await == others).await;
}

/// Kills it there. Another serves all the while, and callers find one of the two.
async fn killed(step: &'static str, ending: bool) -> Duration {
    let etcd = etcd::server();
    let other = wanted("other", &etcd, "");
    let _other = Instance::ready(&other, etcd.directory()).await;
    let wanted = wanted("one", &etcd, step);
    let instance = at(step, ending, &wanted, &etcd).await;
    let client = client(&etcd);
    let every = Duration::from_millis(10);
    let loads = [
        Load::start("reads", every, reads(client.clone())),
        Load::start("orders", every, orders(client, step)),
    ];
    tokio::time::sleep(Duration::from_millis(200)).await;
    let killed = Instant::now();
    instance.signal(Signal::KILL);
    assert_eq!(instance.ended().await, None);
    let dead = Instant::now();
    let alone = async || leases(etcd.address()).await == 1 && keys(etcd.address()).await == 1;
    until(alone).await;
    let gone = killed.elapsed();
    assert!(
        gone < TTL + SLACK,
        "{step}: known for {gone:?} after its death"
    );
    for load in loads {
        let (name, is_order) = (load.name, load.name == "orders");
        let (calls, failures) = load.stop().await;
        assert!(calls > 10);
        // An order that was under way may have been begun, so it is not sent again.
        let begun = |at: &Instant| is_order && *at < dead;
        let late: Vec<_> = failures.iter().filter(|(at, _)| !begun(at)).collect();
        assert!(late.is_empty(), "{step}: {name}: {late:?} of {calls}");
    }
    starts_again(&wanted, &etcd, 1).await;
    gone
}

async fn all_killed(steps: &[(&'static str, bool)]) {
    let runs = steps.iter().map(|(step, ending)| killed(step, *ending));
    let gone = futures_util::future::join_all(runs).await;
    for ((step, _), gone) in steps.iter().zip(gone) {
        println!("killed at {step}: registered for {gone:?} more at most");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_each_step_of_the_start() {
    all_killed(&STEPS[..4]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_each_step_of_the_end() {
    all_killed(&STEPS[4..]).await;
}

/// The registry hangs while it registers; what it hears afterwards is of one who is dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_registers() {
    let etcd = etcd::server();
    let wanted = wanted("one", &etcd, "");
    etcd.freeze().unwrap();
    let instance = Instance::start(&wanted, etcd.directory());
    instance.says("starting\n").await;
    let http = wanted.http();
    until(async || tokio::net::TcpStream::connect(http).await.is_ok()).await;
    instance.signal(Signal::KILL);
    assert_eq!(instance.ended().await, None);
    etcd.thaw().unwrap();
    until(async || leases(etcd.address()).await == 0 && keys(etcd.address()).await == 0).await;
    starts_again(&wanted, &etcd, 0).await;
}

/// Told to end there, once and twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_to_end_at_each_step() {
    let told = STEPS.into_iter().filter(|(step, _)| *step != "delay");
    let told = told.map(|(step, ending)| async move {
        let etcd = etcd::server();
        let wanted = wanted("one", &etcd, step);
        let instance = at(step, ending, &wanted, &etcd).await;
        if !ending {
            instance.signal(Signal::TERM);
        }
        let code = instance.ended().await;
        let cut = ["before_stop", "drain"].contains(&step);
        assert_eq!(code, Some(if cut { 3 } else { 0 }), "{step}");
        until(async || leases(etcd.address()).await == 0 && keys(etcd.address()).await == 0).await;
        starts_again(&wanted, &etcd, 0).await;
    });
    futures_util::future::join_all(told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_twice_it_ends_at_once() {
    let told = ["delay", "before_stop", "drain"].map(|step| async move {
        let etcd = etcd::server();
        let wanted = wanted("one", &etcd, step);
        let instance = at(step, true, &wanted, &etcd).await;
        // One within half a second of the first is taken for the same.
        until(async || {
            instance.signal(Signal::TERM);
            instance.process.has_ended()
        })
        .await;
        assert_eq!(instance.ended().await, Some(130), "{step}");
        until(async || leases(etcd.address()).await == 0 && keys(etcd.address()).await == 0).await;
        starts_again(&wanted, &etcd, 0).await;
    });
    futures_util::future::join_all(told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_for_longer_than_its_lease_it_is_registered_again_once() {
    let etcd = etcd::server();
    let wanted = wanted("one", &etcd, "");
    let instance = Instance::ready(&wanted, etcd.directory()).await;
    until(async || keys(etcd.address()).await == 1).await;
    for _ in 0..2 {
        instance.signal(Signal::STOP);
        until(async || keys(etcd.address()).await == 0).await;
        instance.signal(Signal::CONT);
        until(async || keys(etcd.address()).await == 1).await;
        assert_eq!(leases(etcd.address()).await, 1);
    }
    instance.signal(Signal::TERM);
    assert_eq!(instance.ended().await, Some(0));
    assert_eq!(keys(etcd.address()).await, 0);
    assert_eq!(leases(etcd.address()).await, 0);
}
