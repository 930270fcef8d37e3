//! What a caller says of his call arrives where it ends: deadline, criticality and trace, from
//! whoever orders through the order service to the catalog, over real sockets.

use std::sync::{Arc, Mutex};

use ::http::HeaderMap;
use seawall::Criticality;
use seawall::api::{Error, Request};
use seawall::app::{App, Running};
use shop::config::Config;
use shop_api::v1;
use tempfile::TempDir;

use crate::shop::http;

/// What arrived with a reservation.
#[derive(Clone, Debug)]
struct Arrived {
    criticality: Criticality,
    bounded: bool,
    headers: HeaderMap,
}

/// A catalog that notes who asks, and has of everything.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Arrived>>>);

macro_rules! not_asked {
    ($($method:ident: $request:ident => $reply:ident),* $(,)?) => {$(
        async fn $method(&self, _: Request<v1::$request>) -> Result<v1::$reply, Error> {
            Err(Error::internal(std::io::Error::other("not asked for here")))
        }
    )*};
}

impl v1::Catalog for Recorder {
    async fn reserve(
        &self,
        request: Request<v1::ReserveRequest>,
    ) -> Result<v1::Reservation, Error> {
        let call = request.call().expect("a call");
        self.0.lock().expect("lock").push(Arrived {
            criticality: call.criticality,
            bounded: call.deadline != seawall::Tick::MAX,
            headers: request.headers().clone(),
        });
        let request = request.into_message();
        let line = |wanted: &v1::Wanted| v1::ReservedLine {
            product_id: wanted.product_id,
            title: "tea".to_owned(),
            price_cents: 100,
            quantity: wanted.quantity,
        };
        Ok(v1::Reservation {
            lines: request.lines.iter().map(line).collect(),
            id: request.id,
        })
    }

    not_asked! {
        get_product: GetProductRequest => Product,
        get_details: GetDetailsRequest => ProductDetails,
        list_products: ListProductsRequest => ListProductsReply,
        recommend: RecommendRequest => RecommendReply,
        set_price: SetPriceRequest => SetPriceReply,
        confirm: ConfirmRequest => ConfirmReply,
        release: ReleaseRequest => ReleaseReply,
    }
}

async fn order(directory: &TempDir, catalog: &Running) -> Running {
    let at = directory.path().display();
    let mut arguments = vec![
        format!("data.order.url=sqlite://{at}/order.db"),
        format!(
            "upstreams.catalog.url=http://{}",
            catalog.addresses().grpc().expect("gRPC")
        ),
        // Behind a gateway of ours.
        "http.trust=internal".to_owned(),
        "drain.delay=0s".to_owned(),
    ];
    arguments.extend(["http", "grpc", "admin"].map(|one| format!("{one}.address=127.0.0.1:0")));
    let arguments = arguments
        .into_iter()
        .flat_map(|set| ["--set".to_owned(), set]);
    let app = App::<Config>::new("shop-order").arguments(arguments);
    app.environment([])
        .launch(shop::order::set_up)
        .await
        .expect("started")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadline_criticality_and_trace_of_whoever_orders_arrive_at_the_catalog() {
    let directory = TempDir::with_prefix("shop-").expect("temporary directory");
    let recorder = Recorder::default();
    let mut arguments = vec![
        "grpc.trust=internal".to_owned(),
        "drain.delay=0s".to_owned(),
    ];
    arguments.extend(["http", "grpc", "admin"].map(|one| format!("{one}.address=127.0.0.1:0")));
    let arguments = arguments
        .into_iter()
        .flat_map(|set| ["--set".to_owned(), set]);
    let service = recorder.clone();
    let catalog = App::<Config>::new("shop-catalog")
        .arguments(arguments)
        .environment([]);
    let catalog = catalog.launch(async move |app| {
        app.service(v1::catalog::service(service));
        Ok(())
    });
    let catalog = catalog.await.expect("started");
    let order = order(&directory, &catalog).await;

    let trace = "0af7651916cd43dd8448eb211c80319c";
    let lines = serde_json::json!([{"productId": 1, "quantity": 1}]);
    let body = serde_json::json!({"customer": "ann", "key": "key-0001", "lines": lines});
    let request = ::http::Request::post("/v1/orders")
        .header("content-type", "application/json")
        .header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"))
        .header("seawall-criticality", "critical-plus")
        .header("seawall-timeout-ms", "2500")
        .body(body.to_string())
        .expect("a request");
    let answer = http(&order).request(request).await.expect("an answer");
    assert_eq!(answer.status(), 200);

    let arrived = recorder.0.lock().expect("lock").clone();
    let [arrived] = arrived.as_slice() else {
        panic!("asked once: {arrived:?}");
    };
    assert_eq!(arrived.criticality, Criticality::CriticalPlus);
    let parent = arrived.headers["traceparent"].to_str().expect("text");
    assert!(parent.starts_with(&format!("00-{trace}-")), "{parent}");
    assert!(
        !parent.contains("b7ad6b7169203331"),
        "the span is the order's own: {parent}"
    );
    assert!(parent.ends_with("-01"), "traced as it was begun: {parent}");
    assert!(arrived.bounded);
    let left = arrived.headers["seawall-timeout-ms"]
        .to_str()
        .expect("text");
    let left: u64 = left.parse().expect("milliseconds");
    assert!((1..=2500).contains(&left), "what was left of it: {left} ms");
    for service in [order, catalog] {
        assert_eq!(service.stop().await, 0);
    }
}
