//! `seawall::Client` against processes that are stopped and killed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client_support;

use std::time::Duration;

use client_support::builder;
use rustix::process::Signal;
use seawall::Client;
use seawall::discovery::Endpoint;
use seawall_policy::balance::{Algorithm, HostSnapshot, HostState};
use seawall_testkit::{Recipe, Server};

const SECOND: Duration = Duration::from_secs(1);

fn nginx() -> Server {
    let config = "
        worker_processes 1; daemon off; pid @dir@/pid; error_log stderr; master_process off;
        events {}
        http {
            access_log off;
            keepalive_requests 7;
            server { listen 127.0.0.1:@port@; return 200 answer; }
        }";
    Server::start(&Recipe::nginx(config)).unwrap()
}

/// Three of them, and a client that waits for none longer than this. In turn, so that one that
/// fails is called until it is ejected; the other algorithms soon avoid it.
fn three(per_try: Duration) -> ([Server; 3], Client) {
    let servers = [(); 3].map(|()| nginx());
    let client = builder(servers.iter().map(Server::address))
        .algorithm(Algorithm::RoundRobin)
        .per_try_timeout(per_try)
        .coalesce_limit(0)
        .build()
        .unwrap();
    (servers, client)
}

async fn get(client: &Client) {
    let answer = client.get("/x").await.unwrap();
    assert_eq!(answer.into_body().text().await.unwrap(), "answer");
}

fn host(client: &Client, server: &Server) -> HostSnapshot {
    let key = Endpoint::new(server.address()).key();
    let hosts = client.hosts();
    *hosts.iter().find(|host| host.key == key).unwrap()
}

#[tokio::test]
async fn connections_that_their_server_closes_are_no_failure() {
    let (_servers, client) = three(SECOND);
    for _ in 0..100 {
        get(&client).await;
    }
    assert!(client.hosts().iter().all(|host| host.failing == 0.0));
}

#[tokio::test]
async fn a_process_that_is_killed_costs_no_read() {
    let (servers, client) = three(SECOND);
    for n in 0..200 {
        if n == 50 {
            servers[0].process().signal(Signal::KILL).unwrap();
        }
        get(&client).await;
    }
    let dead = host(&client, &servers[0]);
    assert!(
        dead.failing > 0.1 || dead.state != HostState::Serving,
        "{dead:?}"
    );
    assert!(client.hosts().iter().all(|host| host.in_flight == 0));
}

#[tokio::test]
async fn a_process_that_is_stopped_costs_no_read_and_comes_back() {
    let (servers, client) = three(SECOND / 4);
    let stopped = &servers[0];
    for _ in 0..50 {
        get(&client).await;
    }
    stopped.process().signal(Signal::STOP).unwrap();
    while host(&client, stopped).state == HostState::Serving {
        get(&client).await;
    }
    for _ in 0..100 {
        get(&client).await;
    }
    stopped.process().signal(Signal::CONT).unwrap();
    // Probes find out, and then it is let in again.
    while host(&client, stopped).state != HostState::Serving {
        get(&client).await;
    }
    assert!(client.hosts().iter().all(|host| host.in_flight == 0));
}
