//! Whole programs on real sockets.

#![cfg(feature = "app")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod app_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use app_support::{ANYWHERE, ask, at_once, channel, greet, greeter, see};
use seawall::app::{App, BoxError, Job, Running, Setup};
use seawall::discovery::{Instance, Registration, RegistrationState, Registry};
use seawall::sync::shutdown::Signal;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;
use tokio::sync::{Notify, mpsc};
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
    let running = launch(&[], |app| greeter(app, at_once())).await;
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
    // Under the names of docs/middleware.md.
    for code in ["transport=\"http\",code=\"200\"", "transport=\"grpc\",code=\"OK\""] {
        let line = format!("seawall_requests_total{{method=\"demo.Greeter/Greet\",{code}}} 1");
        assert!(metrics.contains(&line), "{line} is not in {metrics}");
    }
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.starts_with("seawall_"), "{line}");
    }
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
        let work = || -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
            Box::pin(async {
                ARRIVED.fetch_add(1, SeqCst);
                GO_ON.notified().await;
            })
        };
        greeter(app, Arc::new(work));
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
        greeter(&app, at_once());
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

/// A registry that notes what it is told.
struct Noting(mpsc::UnboundedSender<String>);

impl Registry for Noting {
    fn register(&self, instance: Instance) -> Registration {
        let (registration, registering) = Registration::new(instance);
        let tell = self.0.clone();
        tokio::spawn(async move {
            let instance = registering.instance().clone();
            let addresses: Vec<_> = instance.addresses.iter().map(ToString::to_string).collect();
            let (service, version) = (&instance.service, &instance.version);
            let _ = tell.send(format!("+ {service} {version} {}", addresses.join(" ")));
            registering.report(RegistrationState::Registered);
            registering.unwanted().await;
            let _ = tell.send("-".to_owned());
            registering.report(RegistrationState::Deregistered);
        });
        registration
    }
}

#[tokio::test]
async fn it_is_known_once_it_serves_and_no_more_before_it_stops() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let arguments = ANYWHERE.into_iter().chain(["--set", "drain.delay=200ms"]);
    let app = App::<()>::new("demo").version("1").environment([]);
    let running = app.arguments(arguments).launch(|app| async move {
        greeter(&app, at_once());
        app.registry(Noting(tell));
        Ok(())
    });
    let running = running.await.unwrap();
    let addresses = running.addresses().clone();
    let (http, grpc) = (addresses.http().unwrap(), addresses.grpc().unwrap());
    let expected = format!("+ demo 1 grpc://{grpc} http://{http}");
    assert_eq!(told.try_recv().unwrap(), expected);
    running.signal(Signal::Terminate);
    assert_eq!(told.recv().await.unwrap(), "-");
    // Who has not heard yet is served.
    assert_eq!(greet(grpc, "sea").await.unwrap(), "hello, sea");
    assert_eq!(running.ended().await, 0);
}

#[tokio::test]
async fn an_address_that_leads_nowhere_is_not_made_known() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let launch = |more: &'static [&'static str], tell| {
        let wild = ["--set", "grpc.address=0.0.0.0:0"];
        let arguments = ANYWHERE.into_iter().chain(wild).chain(more.iter().copied());
        let app = App::<()>::new("demo").environment([]).arguments(arguments);
        app.launch(|app| async move {
            greeter(&app, at_once());
            app.registry(Noting(tell));
            Ok(())
        })
    };
    let error = launch(&[], tell.clone()).await.err().unwrap();
    assert!(
        error.text.contains("set registry.advertise"),
        "{}",
        error.text
    );
    assert!(told.try_recv().is_err());
    let running = launch(
        &[
            "--set",
            "registry.advertise=orders.internal",
            "--set",
            "drain.delay=0s",
        ],
        tell,
    );
    let running = running.await.unwrap();
    assert!(
        told.recv()
            .await
            .unwrap()
            .contains("grpc://orders.internal:")
    );
    assert_eq!(running.stop().await, 0);
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Own {
    limit: u16,
}

#[tokio::test]
async fn a_change_is_taken_whole_or_refused_whole() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, "limit = 1").unwrap();
    let path = file.to_str().unwrap().to_owned();
    let arguments = ANYWHERE.into_iter().chain(["--config", &path]);
    let app = App::<Own>::new("demo").environment([]).arguments(arguments);
    let app = app.validate(|own| match own.limit {
        13 => Err("brings bad luck".into()),
        _ => Ok(()),
    });
    let (hand, given) = tokio::sync::oneshot::channel();
    let running = app.launch(|app| async move {
        hand.send(app.live_config()).map_err(|_| "gone")?;
        Ok(())
    });
    let running = running.await.unwrap();
    let config = given.await.unwrap();
    let admin = running.addresses().admin().unwrap();
    assert_eq!(config.load().limit, 1);
    for bad in [
        "limit = 2\n[drain]\ntimeout = 5",
        "limit = 13",
        "limt = 2",
        "limit = ",
    ] {
        let refused = refusals(admin).await;
        std::fs::write(&file, bad).unwrap();
        while refusals(admin).await == refused {}
        assert_eq!(config.load().limit, 1, "{bad}");
    }
    let seen = config.load_versioned();
    std::fs::write(&file, "limit = 2\n[drain]\ntimeout = '1s'").unwrap();
    assert_eq!(config.changed(seen.version).await.value.limit, 2);
    assert!(
        see(admin, "/config")
            .await
            .1
            .contains("\"timeout\": \"1s\"")
    );
    assert_eq!(running.stop().await, 0);
}

/// How many changes were refused.
async fn refusals(admin: std::net::SocketAddr) -> String {
    let (_, metrics) = see(admin, "/metrics").await;
    let line = metrics
        .lines()
        .find(|line| line.contains("outcome=\"refused\""));
    line.unwrap().to_owned()
}

#[tokio::test]
async fn a_connection_on_which_nothing_is_asked_is_closed() {
    let running = launch(
        &[
            "--set",
            "http.idle_timeout=100ms",
            "--set",
            "grpc.idle_timeout=100ms",
        ],
        |app| greeter(app, at_once()),
    )
    .await;
    for address in [running.addresses().http(), running.addresses().grpc()] {
        let mut silent = tokio::net::TcpStream::connect(address.unwrap())
            .await
            .unwrap();
        let mut read = Vec::new();
        silent.read_to_end(&mut read).await.unwrap();
        assert!(read.is_empty());
    }
    assert_eq!(running.stop().await, 0);
}

#[tokio::test]
async fn what_the_command_line_asks_for_is_told() {
    let told = async |argument: &'static str| {
        let app = App::<Own>::new("shop-order").version("1.2").environment([]);
        let app = app.arguments([argument]);
        let ended = app.launch(|_| async { Ok(()) }).await.err().unwrap();
        (ended.code, ended.text)
    };
    let (code, help) = told("--help").await;
    assert_eq!(code, 0);
    for part in [
        "SHOP_ORDER__HTTP__ADDRESS",
        "--print-config",
        "Exit code",
        "kill -TERM",
    ] {
        assert!(help.contains(part), "{help}");
    }
    assert_eq!(told("--version").await, (0, "shop-order 1.2\n".to_owned()));
    let (code, printed) = told("--print-config").await;
    assert!(
        code == 0 && printed.contains("limit = 0") && printed.contains("[drain]"),
        "{printed}"
    );
    assert_eq!(told("--check").await.0, 0);
    let (code, error) = told("--chekc").await;
    assert!(code == 2 && error.contains("--check"), "{error}");
}

#[tokio::test]
async fn set_up_that_fails_or_panics_is_told() {
    let told = async |panics: bool| {
        let app = App::<()>::new("demo").environment([]).arguments(ANYWHERE);
        let ended = app.launch(move |app| async move {
            assert!(!panics, "on purpose");
            app.client("catalog")?;
            Ok(())
        });
        let ended = ended.await.err().unwrap();
        assert_eq!(ended.code, 1);
        ended.text
    };
    assert!(told(true).await.contains("set-up: panicked: on purpose"));
    assert!(told(false).await.contains("write [upstreams.catalog]"));
}

#[tokio::test]
async fn a_client_of_a_configured_upstream_calls_it() {
    let callee = launch(&[], |app| greeter(app, at_once())).await;
    let url = format!(
        "upstreams.greeter.url=http://{}",
        callee.addresses().http().unwrap()
    );
    let arguments = ANYWHERE.into_iter().chain(["--set", &url]);
    let (hand, given) = tokio::sync::oneshot::channel();
    let app = App::<()>::new("caller")
        .environment([])
        .arguments(arguments);
    let running = app.launch(|app| async move {
        hand.send(app.client("greeter")?).map_err(|_| "gone")?;
        let error = app.client("greter").err().map(|error| error.to_string());
        assert!(error.unwrap_or_default().contains("there is `greeter`"));
        Ok(())
    });
    let running = running.await.unwrap();
    let answer = given.await.unwrap().get("/v1/greet/sea").await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(running.stop().await, 0);
    assert_eq!(callee.stop().await, 0);
}

#[tokio::test]
async fn a_generic_client_learns_what_there_is() {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let running = launch(&[], |app| greeter(app, at_once())).await;
    let channel = channel(running.addresses().grpc().unwrap()).await;
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let requests = futures_util::stream::iter([request]);
    let replies = ServerReflectionClient::new(channel)
        .server_reflection_info(requests)
        .await;
    let reply = replies
        .unwrap()
        .into_inner()
        .message()
        .await
        .unwrap()
        .unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = reply.message_response else {
        panic!("{reply:?}");
    };
    assert!(
        list.service
            .iter()
            .any(|service| service.name == "grpc.health.v1.Health"),
        "{list:?}"
    );
    assert_eq!(running.stop().await, 0);
}

#[tokio::test]
async fn methods_are_told_apart_and_configured_by_name() {
    let timeout = "methods.\"demo.Greeter/Greet\".timeout=50ms";
    let running = launch(&["--set", timeout], |app| {
        greeter(app, Arc::new(|| Box::pin(std::future::pending())));
    })
    .await;
    let grpc = running.addresses().grpc().unwrap();
    let late = greet(grpc, "sea").await.unwrap_err();
    assert_eq!(late.code(), tonic::Code::DeadlineExceeded);
    let (status, _) = see(running.addresses().http().unwrap(), "/v1/greet/sea").await;
    assert_eq!(status, 504);
    let (_, metrics) = see(running.addresses().admin().unwrap(), "/metrics").await;
    assert!(metrics.contains("demo.Greeter/Greet"), "{metrics}");
    assert_eq!(running.stop().await, 0);

    let typo = ["--set", "methods.\"demo.Greeter/Greeet\".timeout=50ms"];
    let arguments = ANYWHERE.into_iter().chain(typo);
    let app = App::<()>::new("demo").environment([]).arguments(arguments);
    let error = app.launch(|app| async move {
        greeter(&app, at_once());
        Ok(())
    });
    let error = error.await.err().unwrap();
    assert!(error.text.contains("demo.Greeter/Greet"), "{}", error.text);
}
