//! All of the shop within this process: what callers see by either transport, and what they see
//! when something is broken.

use std::future::Future;
use std::time::Duration;

use seawall::Client;
use seawall::app::{App, BoxError, Running, Setup};
use shop::config::Config;
use shop::{admin, catalog, notify, order, worker};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// A running shop; its files go with it.
pub(crate) struct Shop {
    pub(crate) catalog: Running,
    pub(crate) order: Running,
    pub(crate) notify: Running,
    worker: Running,
    pub(crate) admin: Running,
    pub(crate) directory: TempDir,
}

impl Shop {
    /// Set-up: each service on ports of its own, as the command would start it.
    pub(crate) async fn start() -> Self {
        let directory = TempDir::with_prefix("shop-").expect("temporary directory");
        let at = directory.path().display();
        let data = |name| format!("[data.{name}]\nurl = \"sqlite://{at}/{name}.db\"\n\n");
        let data = ["catalog", "order", "notify"].map(data).concat();
        Self::start_on(directory, &data).await
    }

    /// The same over what this part of the configuration names.
    pub(crate) async fn start_on(directory: TempDir, data: &str) -> Self {
        let at = directory.path().display();
        let mut text =
            format!("[operator]\nfile = \"{at}/shop.toml\"\n\n[drain]\ndelay = \"0s\"\n\n{data}");
        let write = |text: &str| std::fs::write(directory.path().join("shop.toml"), text);
        write(&text).expect("written");
        let catalog = launch("catalog", &directory, catalog::set_up).await;
        let notify = launch("notify", &directory, notify::set_up).await;
        for (name, service) in [("catalog", &catalog), ("notify", &notify)] {
            let address = service.addresses().grpc().expect("it serves gRPC");
            text += &format!("[upstreams.{name}]\nurl = \"http://{address}\"\n\n");
        }
        write(&text).expect("written");
        Self {
            order: launch("order", &directory, order::set_up).await,
            worker: launch("worker", &directory, worker::set_up).await,
            admin: launch("admin", &directory, admin::set_up).await,
            catalog,
            notify,
            directory,
        }
    }

    /// Tear-down: each ends well.
    pub(crate) async fn stop(self) {
        for service in [
            self.admin,
            self.worker,
            self.order,
            self.notify,
            self.catalog,
        ] {
            assert_eq!(service.stop().await, 0, "everything finished in time");
        }
        self.directory.close().expect("its files are gone");
    }
}

pub(crate) async fn launch<F, Fut>(name: &str, directory: &TempDir, set_up: F) -> Running
where
    F: FnOnce(Setup<Config>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    launch_with(name, directory, &[], set_up).await
}

/// The same, told so much more.
pub(crate) async fn launch_with<F, Fut>(
    name: &str,
    directory: &TempDir,
    sets: &[&str],
    set_up: F,
) -> Running
where
    F: FnOnce(Setup<Config>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let file = directory.path().join("shop.toml").display().to_string();
    let mut arguments = vec!["--config".to_owned(), file];
    for section in ["http", "grpc", "admin"] {
        arguments.push("--set".to_owned());
        arguments.push(format!("{section}.address=127.0.0.1:0"));
    }
    for set in sets {
        arguments.extend(["--set".to_owned(), (*set).to_owned()]);
    }
    let app = App::<Config>::new(format!("shop-{name}")).arguments(arguments);
    let app = app.environment([]).launch(set_up).await;
    app.unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// JSON over HTTP to a service.
pub(crate) fn http(service: &Running) -> Client {
    let address = service.addresses().http().expect("it serves HTTP");
    Client::new(&format!("http://{address}")).expect("an address")
}

/// gRPC to a service.
pub(crate) fn grpc(service: &Running) -> seawall::client::Grpc {
    let address = service.addresses().grpc().expect("it serves gRPC");
    Client::new(&format!("http://{address}"))
        .expect("an address")
        .grpc()
}

/// The status and the message.
pub(crate) async fn send(
    client: &Client,
    verb: &str,
    path: &str,
    body: serde_json::Value,
) -> (u16, serde_json::Value) {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let request = http::Request::builder().method(verb).uri(path);
    let request = request
        .header("content-type", "application/json")
        .body(body);
    let answer = client
        .request(request.expect("a request"))
        .await
        .expect("an answer");
    let status = answer.status().as_u16();
    (status, answer.into_body().json().await.expect("JSON"))
}

pub(crate) async fn get(client: &Client, path: &str) -> (u16, serde_json::Value) {
    send(client, "GET", path, serde_json::Value::Null).await
}

/// Asks until it is so; five seconds at most.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < end, "{what}");
        sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn place(key: &str, quantity: u32) -> serde_json::Value {
    let line = serde_json::json!({"productId": 2, "quantity": quantity});
    serde_json::json!({"customer": "ann", "key": key, "lines": [line]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_placed_once_paid_once_and_told() {
    let shop = Shop::start().await;
    let (orders, catalog) = (http(&shop.order), http(&shop.catalog));
    let (status, first) = send(&orders, "POST", "/v1/orders", place("key-0001", 10)).await;
    assert_eq!(status, 200, "{first}");
    // Ten at 2.70, a tenth off.
    assert_eq!(
        (&first["totalCents"], &first["status"]),
        (&2_430.into(), &"UNPAID".into())
    );
    let again = send(&orders, "POST", "/v1/orders", place("key-0001", 10)).await;
    assert_eq!(again, (200, first.clone()));
    let (status, other) = send(&orders, "POST", "/v1/orders", place("key-0001", 9)).await;
    assert_eq!((status, &other["reason"]), (409, &"KEY_USED".into()));
    let (_, product) = get(&catalog, "/v1/products/2").await;
    assert_eq!(product["stock"], 9_990, "taken once");

    let pay = format!("/v1/orders/{}/pay", first["id"].as_str().expect("an id"));
    let nothing = serde_json::json!({});
    let (status, paid) = send(&orders, "POST", &pay, nothing.clone()).await;
    assert_eq!((status, &paid["status"]), (200, &"PAID".into()));
    assert_eq!(send(&orders, "POST", &pay, nothing).await, (200, paid));

    // The worker tells it, the notify service keeps it, the worker sends it.
    let notices = http(&shop.notify);
    until("a receipt", || async {
        let (_, told) = get(&notices, "/v1/customers/ann/notices").await;
        let told = told["notices"].as_array()?.clone();
        told.iter()
            .any(|notice| notice["state"] == "SENT")
            .then_some(())
    })
    .await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_away_keeps_no_catalog_from_starting() {
    let shop = Shop::start().await;
    // Nobody listens there.
    let sets = ["cache.redis=redis://127.0.0.1:1"];
    let second = launch_with("catalog", &shop.directory, &sets, catalog::set_up).await;
    let client = http(&second);
    let (status, product) = get(&client, "/v1/products/2").await;
    assert_eq!((status, &product["stock"]), (200, &10_000.into()));
    let (status, refused) = get(&client, "/v1/products/999").await;
    assert_eq!(
        (status, &refused["reason"]),
        (404, &"PRODUCT_NOT_FOUND".into())
    );
    assert_eq!(second.stop().await, 0);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_catalog_a_page_is_stale_and_an_order_is_not_placed() {
    let shop = Shop::start().await;
    let orders = http(&shop.order);
    let (status, page) = get(&orders, "/v1/order-pages/1").await;
    assert_eq!((status, &page["stale"]), (200, &false.into()), "{page}");
    assert!(
        page["recommendations"]
            .as_array()
            .is_some_and(|some| !some.is_empty())
    );

    assert_eq!(shop.catalog.stop().await, 0);
    let (status, degraded) = get(&orders, "/v1/order-pages/1").await;
    assert_eq!(
        (status, &degraded["stale"]),
        (200, &true.into()),
        "{degraded}"
    );
    assert_eq!(degraded["priceCents"], page["priceCents"]);
    assert_eq!(degraded["asOf"], page["asOf"]);
    assert!(degraded["stock"].is_null(), "{degraded}");
    assert_eq!(degraded["recommendations"], serde_json::json!([]));
    let (status, refused) = send(&orders, "POST", "/v1/orders", place("key-0002", 1)).await;
    assert_eq!((status, &refused["reason"]), (503, &"STOCK_UNKNOWN".into()));
    for service in [shop.admin, shop.worker, shop.order, shop.notify] {
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_turns_recommendations_off_for_everyone() {
    let shop = Shop::start().await;
    let (orders, catalog, operator) = (http(&shop.order), http(&shop.catalog), http(&shop.admin));
    for on in [false, true] {
        let wanted = serde_json::json!({"recommendations": on});
        let (status, answer) = send(&operator, "PUT", "/v1/degrade", wanted).await;
        assert_eq!(status, 200, "{answer}");
        for (client, path) in [
            (&orders, "/v1/order-pages/1"),
            (&catalog, "/v1/products/1/recommendations"),
        ] {
            let field = if path.starts_with("/v1/order") {
                "recommendations"
            } else {
                "products"
            };
            until("they follow", || async {
                let (_, page) = get(client, path).await;
                let some = page[field].as_array().is_some_and(|all| !all.is_empty());
                (some == on).then_some(())
            })
            .await;
        }
    }
    shop.stop().await;
}

/// Looks at an instance, 20 ms apart: what is promised within a second is there at the fiftieth.
const LOOKS: u32 = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_instance_hears_of_the_switch_within_a_second() {
    let shop = Shop::start().await;
    let second = launch("catalog", &shop.directory, catalog::set_up).await;
    let third = launch("catalog", &shop.directory, catalog::set_up).await;
    let instances = [http(&shop.catalog), http(&second), http(&third)];
    let path = "/v1/products/1/recommendations";
    let shown = async |client| {
        let (_, page) = get(client, path).await;
        page["products"]
            .as_array()
            .is_some_and(|some| !some.is_empty())
    };
    for on in [false, true] {
        let file = shop.directory.path().join("shop.toml");
        let state = if on { "off" } else { "on" };
        let arguments = [state.into(), "--file".into(), file.into_os_string()];
        let begun = Instant::now();
        let exit = admin::command::main(&arguments);
        assert_eq!(
            format!("{exit:?}"),
            format!("{:?}", std::process::ExitCode::SUCCESS)
        );
        for (n, client) in instances.iter().enumerate() {
            let mut looks = 0;
            while shown(client).await != on {
                looks += 1;
                assert!(looks <= LOOKS, "instance {n} has not heard of it");
                sleep(Duration::from_millis(20)).await;
            }
        }
        println!(
            "recommendations {on}: all three after {:?}",
            begun.elapsed()
        );
    }
    for service in [second, third] {
        assert_eq!(service.stop().await, 0);
    }
    shop.stop().await;
}
