//! What a program shows of itself without a line of its own.

#![cfg(feature = "profile")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod app_support;

use std::net::SocketAddr;
use std::sync::Arc;

use app_support::{ANYWHERE, greet, greeter, see};
use seawall::app::{App, Job, Running, Setup};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;

async fn launch(more: &[&str], set_up: fn(&Setup<()>)) -> Running {
    let arguments = ANYWHERE.iter().chain(more).copied();
    let app = App::<()>::new("demo").environment([]).arguments(arguments);
    let running = app.launch(move |setup| async move {
        set_up(&setup);
        Ok(())
    });
    running.await.unwrap()
}

/// Looks until the tasks that are told of have what `wanted` says.
async fn tasks(admin: SocketAddr, wanted: &[&str]) -> String {
    loop {
        let (status, text) = see(admin, "/tasks?text").await;
        assert_eq!(status, 200);
        if wanted.iter().all(|wanted| text.contains(wanted)) {
            break text;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn workers_jobs_and_requests_are_on_the_board() {
    static GO_ON: Notify = Notify::const_new();
    let running = launch(&[], |app| {
        let work =
            || -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> { Box::pin(GO_ON.notified()) };
        greeter(app, Arc::new(work));
        app.worker("refresh", |life| async move {
            life.stopping().await;
            Ok(())
        });
        app.add_job(Job::new("expire", "every 1ms", || async {
            GO_ON.notified().await;
            Ok(())
        }));
    })
    .await;
    let (grpc, admin) = (
        running.addresses().grpc().unwrap(),
        running.addresses().admin().unwrap(),
    );
    let call = tokio::spawn(async move { greet(grpc, "sea").await });
    let wanted = [
        "worker   refresh",
        "job      expire",
        "request  demo.Greeter/Greet",
    ];
    let text = tasks(admin, &wanted).await;
    let request = text.lines().find(|line| line.contains("Greet")).unwrap();
    assert!(request.contains("trace "), "{request}");
    let (_, metrics) = see(admin, "/metrics").await;
    for metric in [
        "seawall_working_on{kind=\"worker\"} 1",
        "seawall_runtime_workers{runtime=\"main\"}",
        "process_open_fds",
    ] {
        assert!(metrics.contains(metric), "{metric}: {metrics}");
    }
    assert!(see(admin, "/nowhere").await.1.contains("/tasks"));
    let stopped = tokio::spawn(running.stop());
    while !stopped.is_finished() {
        GO_ON.notify_waiters();
        tokio::task::yield_now().await;
    }
    call.await.unwrap().unwrap();
    assert_eq!(stopped.await.unwrap(), 0);
}

async fn status(admin: SocketAddr, host: &str, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(admin).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    reply[9..12].to_owned()
}

/// A page in a browser on this machine may have any name lead here.
#[tokio::test]
async fn a_foreign_name_learns_nothing() {
    let running = launch(&[], |_| {}).await;
    let admin = running.addresses().admin().unwrap();
    for ours in [
        "localhost",
        "LOCALHOST:9900",
        "127.0.0.1",
        "127.1.2.3:80",
        "[::1]:9900",
    ] {
        assert_eq!(status(admin, ours, "/config").await, "200", "{ours}");
    }
    for foreign in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example:9900",
        "10.0.0.1",
        "[::2]",
    ] {
        for path in ["/config", "/metrics", "/tasks", "/profile/cpu", "/nowhere"] {
            assert_eq!(
                status(admin, foreign, path).await,
                "421",
                "{foreign} {path}"
            );
        }
        assert_eq!(status(admin, foreign, "/livez").await, "200");
    }
    assert_eq!(running.stop().await, 0);

    // Where there is a token, any name will do: a proxy's, say.
    let running = launch(&["--set", "admin.token=plain"], |_| {}).await;
    let admin = running.addresses().admin().unwrap();
    assert_eq!(status(admin, "evil.example", "/config").await, "401");
    let known = "evil.example\r\nauthorization: Bearer plain";
    assert_eq!(status(admin, known, "/config").await, "200");
    assert_eq!(running.stop().await, 0);
}
