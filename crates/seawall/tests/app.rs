//! Whole programs on real sockets.

#![cfg(feature = "app")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod app_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use app_support::{ANYWHERE, ask, at_once, channel, greet, greeter, see};
use seawall::app::{App, BoxError, Job, Running, Setup};
use seawall::sync::shutdown::Signal;
use tokio::sync::Notify;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

async fn launch(more: &[&str], set_up: fn(&Setup<()>)) -> Running {
    let arguments = ANYWHERE.iter().chain(more).copied();
    let app = App::<()>::new("demo").version("1.2.3").environment([]);
    let app = app.arguments(arguments);
    let running = app.launch(move |setup| async move {
        set_up(&setup);
        Ok(())
    });
    running.await.unwrap()
}

#[tokio::test]
async fn both_transports_and_the_admin_answer() {
    let running = launch(&[], |app| app.service(greeter(at_once()))).await;
    let addresses = running.addresses().clone();
    let (http, grpc, admin) = (
        addresses.http().unwrap(),
        addresses.grpc().unwrap(),
        addresses.admin().unwrap(),
    );
    assert_eq!(
        see(http, "/v1/greet/sea").await,
        (200, "hello, sea".to_owned())
    );
    assert_eq!(greet(grpc, "sea").await.unwrap(), "hello, sea");

    let mut health = HealthClient::new(channel(grpc).await);
    for service in ["", "demo.Greeter"] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let status = health.check(request).await.unwrap().into_inner();
        assert_eq!(status.status, 1, "SERVING");
    }

    assert_eq!(see(admin, "/livez").await.0, 200);
    assert_eq!(see(admin, "/readyz").await, (200, "ready\n".to_owned()));
    let (_, metrics) = see(admin, "/metrics").await;
    assert!(
        metrics.contains("seawall_app_info{name=\"demo\",version=\"1.2.3\"} 1"),
        "{metrics}"
    );
    assert!(metrics.contains("seawall_app_ready 1"), "{metrics}");
    let (_, config) = see(admin, "/config").await;
    assert!(config.contains("\"timeout\": \"25s\""), "{config}");
    assert_eq!(see(admin, "/nowhere").await.0, 404);
    assert_eq!(
        ask(admin, "PUT /log-level", "debug").await.0,
        404,
        "no log of ours"
    );

    let (_, description) = see(http, "/openapi.json").await;
    assert!(description.contains("/v1/greet/{name}"), "{description}");
    assert!(see(http, "/docs").await.1.contains("openapi.json"));
    assert_eq!(running.stop().await, 0);
    assert!(tokio::net::TcpStream::connect(http).await.is_err());
    assert!(tokio::net::TcpStream::connect(admin).await.is_err());
}

/// A caller that comes while the program leaves is served, and one under way is finished.
#[tokio::test]
async fn nobody_is_cut_by_an_end() {
    static ARRIVED: AtomicUsize = AtomicUsize::new(0);
    static GO_ON: Notify = Notify::const_new();
    let running = launch(&["--set", "drain.delay=300ms"], |app| {
        app.service(greeter(Arc::new(|| {
            Box::pin(async {
                ARRIVED.fetch_add(1, SeqCst);
                GO_ON.notified().await;
            })
        })));
    })
    .await;
    let addresses = running.addresses().clone();
    let (http, grpc, admin) = (
        addresses.http().unwrap(),
        addresses.grpc().unwrap(),
        addresses.admin().unwrap(),
    );
    let first = tokio::spawn(async move { greet(grpc, "first").await });
    until(|| ARRIVED.load(SeqCst) == 1).await;
    running.signal(Signal::Terminate);
    // Not ready at once, and alive and serving all the same.
    loop {
        match see(admin, "/readyz").await {
            (503, phase) => break assert_eq!(phase, "leaving\n"),
            _ => tokio::task::yield_now().await,
        }
    }
    assert_eq!(see(admin, "/livez").await.0, 200);
    let late = tokio::spawn(async move { see(http, "/v1/greet/late").await });
    until(|| ARRIVED.load(SeqCst) == 2).await;
    until_draining(admin).await;
    GO_ON.notify_waiters();
    assert_eq!(first.await.unwrap().unwrap(), "hello, first");
    assert_eq!(late.await.unwrap(), (200, "hello, late".to_owned()));
    assert_eq!(running.ended().await, 0);
}

async fn until(done: impl Fn() -> bool) {
    while !done() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

async fn until_draining(admin: std::net::SocketAddr) {
    while see(admin, "/readyz").await.1 != "draining\n" {}
}

#[tokio::test]
async fn a_drain_without_end_is_cut_and_told_by_the_exit_code() {
    let running = launch(&["--set", "drain.timeout=50ms"], |app| {
        app.worker("stubborn", |_| std::future::pending());
    })
    .await;
    assert_eq!(running.stop().await, 3);
}

#[tokio::test]
async fn an_address_in_use_is_told_with_its_remedy() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http.address={}", taken.local_addr().unwrap());
    let arguments = ANYWHERE.into_iter().chain(["--set", &address]);
    let app = App::<()>::new("demo").environment([]).arguments(arguments);
    let error = app.launch(|app| async move {
        app.service(greeter(at_once()));
        Ok(())
    });
    let error = error.await.err().unwrap();
    assert_eq!(error.code, 1);
    for part in ["http: cannot listen on", "ss -ltnp", "http.address"] {
        assert!(error.text.contains(part), "{}", error.text);
    }
}

#[tokio::test]
async fn the_admin_is_for_this_machine_or_who_has_the_token() {
    let arguments = ["--set", "admin.address=0.0.0.0:0"];
    let app = App::<()>::new("demo").environment([]).arguments(arguments);
    let error = app.launch(|_| async { Ok(()) }).await.err().unwrap();
    assert!(
        error.text.contains("set admin.token, or use 127.0.0.1:0"),
        "{}",
        error.text
    );

    let arguments = ANYWHERE
        .into_iter()
        .chain(["--set", "admin.token=open-sesame"]);
    let app = App::<()>::new("demo").environment([]).arguments(arguments);
    let running = app.launch(|_| async { Ok(()) }).await.unwrap();
    let admin = running.addresses().admin().unwrap();
    assert_eq!(see(admin, "/livez").await.0, 200);
    assert_eq!(see(admin, "/readyz").await.0, 200);
    for path in ["/metrics", "/config", "/log-level", "/none"] {
        assert_eq!(see(admin, path).await.0, 401, "{path}");
    }
    let with = |token| format!("GET /config HTTP/1.1\r\nauthorization: Bearer {token}\r\nx: ");
    assert_eq!(ask(admin, &with("open-sesamf"), "").await.0, 401);
    let (status, config) = ask(admin, &with("open-sesame"), "").await;
    assert_eq!(status, 200);
    assert!(
        config.contains("\"token\": \"***\"") && !config.contains("sesame"),
        "{config}"
    );
    running.stop().await;
}

#[tokio::test]
async fn a_job_is_counted() {
    let running = launch(&[], |app| {
        let run = || std::future::ready(Err::<(), BoxError>("no".into()));
        app.add_job(Job::new("fails", "every 100ms", run));
    })
    .await;
    let admin = running.addresses().admin().unwrap();
    loop {
        let (_, metrics) = see(admin, "/metrics").await;
        let zero = "seawall_job_runs_total{job=\"fails\",outcome=\"failed\"} 0";
        assert!(
            metrics.contains("job=\"fails\",outcome=\"failed\""),
            "{metrics}"
        );
        if !metrics.contains(zero) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(running.stop().await, 0);
}
