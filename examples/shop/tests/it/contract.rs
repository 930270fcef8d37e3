//! Both transports against the definition: what it says is there, and it is the same by either.

use seawall::api::{Code, Error};
use serde_json::json;
use shop::admin::{self, token};
use shop_api::v1;
use shop_api::v1::admin_client::AdminClient;
use shop_api::v1::catalog_client::CatalogClient;
use shop_api::v1::orders_client::OrdersClient;

use crate::shop::{Shop, get, grpc, http, launch_with, send};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_and_failures_are_the_same_by_either_transport() {
    let shop = Shop::start().await;
    let (mut rpc, rest) = (CatalogClient::new(grpc(&shop.catalog)), http(&shop.catalog));

    let product = rpc
        .get_product(v1::GetProductRequest { id: 3 })
        .await
        .expect("there");
    let said = serde_json::to_value(product.into_inner()).expect("JSON");
    assert_eq!(get(&rest, "/v1/products/3").await, (200, said));

    let missing = rpc.get_product(v1::GetProductRequest { id: 99 }).await;
    let missing = Error::from(missing.expect_err("there is none"));
    assert!(missing.is(v1::CatalogError::ProductNotFound));
    let (status, body) = get(&rest, "/v1/products/99").await;
    assert_eq!((status, &body["reason"]), (404, &missing.reason().into()));
    assert_eq!(body["metadata"], json!(missing.metadata()));

    let (mut rpc, rest) = (OrdersClient::new(grpc(&shop.order)), http(&shop.order));
    let request = v1::PlaceOrderRequest {
        customer: String::new(),
        key: "key-0001".to_owned(),
        lines: vec![v1::Wanted {
            product_id: 1,
            quantity: 0,
        }],
    };
    let sent = serde_json::to_value(&request).expect("JSON");
    let refused = Error::from(
        rpc.place_order(request)
            .await
            .expect_err("against the rules"),
    );
    assert_eq!(refused.code(), Code::InvalidArgument);
    let (status, body) = send(&rest, "POST", "/v1/orders", sent).await;
    assert_eq!(status, 400, "{body}");
    let fields = |error: &Error| -> Vec<String> {
        error
            .violations()
            .iter()
            .map(|violation| violation.field.clone())
            .collect()
    };
    let told = body["violations"].as_array().expect("violations");
    let told: Vec<_> = told
        .iter()
        .filter_map(|violation| violation["field"].as_str())
        .collect();
    assert_eq!(told, fields(&refused));
    assert_eq!(told, ["customer", "lines[0].quantity"]);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_is_served_where_its_definition_says() {
    let shop = Shop::start().await;
    let served = [
        (&shop.catalog, v1::catalog::METHODS),
        (&shop.order, v1::orders::METHODS),
        (&shop.notify, v1::notify::METHODS),
    ];
    for (service, methods) in served {
        let rest = http(service);
        for method in methods {
            for (verb, template) in method.http {
                // No product, order or customer is called 0, so nothing is changed.
                let path: String = template
                    .split('/')
                    .map(|part| match part.split_once('}') {
                        Some((_, verb)) => format!("/0{verb}"),
                        None => format!("/{part}"),
                    })
                    .collect();
                let (status, body) = send(&rest, verb, &path[1..], json!({})).await;
                let known = status != 404 || body["reason"].as_str().is_some_and(is_ours);
                assert!(known && status != 405, "{verb} {path}: {status} {body}");
            }
        }
    }
    shop.stop().await;
}

fn is_ours(reason: &str) -> bool {
    v1::CatalogError::from_str_name(reason).is_some()
        || v1::OrderError::from_str_name(reason).is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_token_is_no_operator_by_either_transport() {
    let directory = tempfile::TempDir::with_prefix("shop-").expect("temporary directory");
    let key = directory.path().join("operator.key");
    token::make_key(&key).expect("made");
    let file = directory.path().join("shop.toml");
    let operator = format!("[operator]\nfile = \"{}\"\n\n", file.display());
    std::fs::write(&file, operator + &token::config(&key)).expect("written");
    let service = launch_with("admin", &directory, &[token::REQUIRED], admin::set_up).await;

    let strange = directory.path().join("strange.key");
    token::make_key(&strange).expect("made");
    let lasts = std::time::Duration::from_secs(60);
    let ours = token::token(&key, lasts).expect("signed");
    let foreign = token::token(&strange, lasts).expect("signed");
    let rest = http(&service);
    for (shown, status, reason) in [
        (None, 401, Some("TOKEN_MISSING")),
        (Some(foreign), 401, Some("TOKEN_SIGNATURE")),
        (Some(ours), 200, None),
    ] {
        let mut call = tonic::Request::new(v1::GetDegradeRequest {});
        let mut request = http::Request::get("/v1/degrade");
        if let Some(shown) = shown {
            let bearer = format!("Bearer {shown}");
            let value = bearer.parse().expect("a header");
            call.metadata_mut().insert("authorization", value);
            request = request.header("authorization", bearer);
        }
        let request = request.body(String::new()).expect("a request");
        let answer = rest.request(request).await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status);
        let body: serde_json::Value = answer.into_body().json().await.expect("JSON");
        assert_eq!(body["reason"].as_str(), reason, "{body}");
        let by_rpc = AdminClient::new(grpc(&service)).get_degrade(call).await;
        let told = by_rpc.err().map(Error::from);
        assert_eq!(told.as_ref().map(Error::reason), reason);
    }
    assert_eq!(service.stop().await, 0);
}
