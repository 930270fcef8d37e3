//! Each method by either transport: the same answer, or the same reason.

use std::collections::BTreeSet;

use seawall::api::{Error, Method};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use shop_api::v1;
use shop_api::v1::admin_client::AdminClient;
use shop_api::v1::catalog_client::CatalogClient;
use shop_api::v1::notify_client::NotifyClient;
use shop_api::v1::orders_client::OrdersClient;

use crate::shop::{Shop, grpc, http, send};

type Called<T> = Result<tonic::Response<T>, tonic::Status>;

/// Calls a method by gRPC and by HTTP, and returns what both answer; all of the shop's methods may
/// be called twice.
macro_rules! both {
    ($called:ident, $rpc:expr, $service:ident / $method:ident, $call:ident($message:expr),
     $rest:expr, $verb:literal $path:expr, $body:expr) => {{
        $called.insert(concat!(
            "shop.v1.",
            stringify!($service),
            "/",
            stringify!($method)
        ));
        let by_rpc = $rpc.$call($message).await;
        let by_rest = send($rest, $verb, $path, $body).await;
        same(concat!($verb, " ", stringify!($method)), by_rpc, by_rest)
    }};
}

/// The message, or the reason why there is none.
fn same<T>(what: &str, by_rpc: Called<T>, (status, body): (u16, Value)) -> Result<T, String>
where
    T: DeserializeOwned + PartialEq + std::fmt::Debug,
{
    match by_rpc {
        Ok(message) => {
            assert_eq!(status, 200, "{what}: {body}");
            let by_rest: T = serde_json::from_value(body).expect("a message");
            assert_eq!(by_rest, *message.get_ref(), "{what}");
            Ok(message.into_inner())
        }
        Err(failed) => {
            let failed = Error::from(failed);
            assert_eq!(body["reason"], failed.reason(), "{what}: {status} {body}");
            assert_ne!(status, 200, "{what}: {body}");
            Err(failed.reason().to_owned())
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_answers_the_same_by_either_transport() {
    let shop = Shop::start().await;
    let mut called = BTreeSet::new();
    catalog(&shop, &mut called).await;
    orders(&shop, &mut called).await;
    let (mut rpc, rest) = (NotifyClient::new(grpc(&shop.notify)), &http(&shop.notify));
    let event = v1::OrderEvent::default();
    let sent = json!({});
    let refused =
        both!(called, rpc, Notify/Hear, hear(event), rest, "POST" "/v1/order-events", sent);
    assert!(refused.is_err(), "against the rules");
    let ask = v1::ListNoticesRequest {
        customer: "nobody".to_owned(),
    };
    let path = "/v1/customers/nobody/notices";
    let none =
        both!(called, rpc, Notify/ListNotices, list_notices(ask), rest, "GET" path, Value::Null);
    assert_eq!(none, Ok(v1::ListNoticesReply::default()));

    let (mut rpc, rest) = (AdminClient::new(grpc(&shop.admin)), &http(&shop.admin));
    let degrade = v1::Degrade {
        recommendations: true,
    };
    let ask = v1::SetDegradeRequest {
        degrade: Some(degrade),
    };
    let sent = json!({"recommendations": true});
    let set =
        both!(called, rpc, Admin/SetDegrade, set_degrade(ask), rest, "PUT" "/v1/degrade", sent);
    let ask = v1::GetDegradeRequest {};
    let get = both!(called, rpc, Admin/GetDegrade, get_degrade(ask), rest, "GET" "/v1/degrade", Value::Null);
    assert_eq!((set, get), (Ok(degrade), Ok(degrade)));

    let defined = [
        v1::catalog::METHODS,
        v1::orders::METHODS,
        v1::notify::METHODS,
        v1::admin::METHODS,
    ];
    let defined: BTreeSet<_> = defined
        .concat()
        .iter()
        .map(|method: &Method| method.name)
        .collect();
    assert_eq!(called, defined, "none was left out");
    shop.stop().await;
}

async fn catalog(shop: &Shop, called: &mut BTreeSet<&'static str>) {
    let (mut rpc, rest) = (
        CatalogClient::new(grpc(&shop.catalog)),
        &http(&shop.catalog),
    );
    let ask = v1::GetProductRequest { id: 3 };
    let found = both!(called, rpc, Catalog/GetProduct, get_product(ask), rest, "GET" "/v1/products/3", Value::Null);
    assert_eq!(found.map(|product| product.id), Ok(3));
    let ask = v1::GetDetailsRequest { id: 3 };
    let found = both!(called, rpc, Catalog/GetDetails, get_details(ask), rest, "GET" "/v1/products/3/details", Value::Null);
    assert!(found.is_ok_and(|details| details.attributes.contains_key("origin")));
    let ask = v1::ListProductsRequest {
        after: 2,
        page_size: 4,
    };
    let path = "/v1/products?after=2&pageSize=4";
    let found =
        both!(called, rpc, Catalog/ListProducts, list_products(ask), rest, "GET" path, Value::Null);
    assert_eq!(found.map(|page| page.products.len()), Ok(4));
    let ask = v1::RecommendRequest { id: 3 };
    let path = "/v1/products/3/recommendations";
    let found =
        both!(called, rpc, Catalog/Recommend, recommend(ask), rest, "GET" path, Value::Null);
    assert_eq!(found.map(|page| page.products.len()), Ok(2));
    let ask = v1::SetPriceRequest {
        id: 3,
        price_cents: 300,
    };
    let sent = json!({"priceCents": 300});
    let priced = both!(called, rpc, Catalog/SetPrice, set_price(ask), rest, "PUT" "/v1/products/3/price", sent);
    assert!(priced.is_ok());

    let until = shop::pkg::Time::now().after(std::time::Duration::from_secs(600));
    let ask = v1::ReserveRequest {
        id: "r1".to_owned(),
        lines: vec![v1::Wanted {
            product_id: 3,
            quantity: 2,
        }],
        until: Some(shop::pkg::rpc::timestamp(until)),
    };
    let sent = serde_json::to_value(&ask).expect("JSON");
    let held =
        both!(called, rpc, Catalog/Reserve, reserve(ask), rest, "POST" "/v1/reservations", sent);
    assert_eq!(held.map(|held| held.lines[0].price_cents), Ok(300));
    let ask = v1::ConfirmRequest {
        id: "r1".to_owned(),
    };
    let path = "/v1/reservations/r1/confirm";
    let sold = both!(called, rpc, Catalog/Confirm, confirm(ask), rest, "POST" path, json!({}));
    assert!(sold.is_ok());
    let ask = v1::ReleaseRequest {
        id: "r1".to_owned(),
    };
    let path = "/v1/reservations/r1/release";
    let back = both!(called, rpc, Catalog/Release, release(ask), rest, "POST" path, json!({}));
    assert!(back.is_ok());
    // And a refusal: what went back cannot be sold.
    let ask = v1::ConfirmRequest {
        id: "r1".to_owned(),
    };
    let path = "/v1/reservations/r1/confirm";
    let gone = both!(called, rpc, Catalog/Confirm, confirm(ask), rest, "POST" path, json!({}));
    assert_eq!(gone.err().as_deref(), Some("RESERVATION_NOT_HELD"));
}

async fn orders(shop: &Shop, called: &mut BTreeSet<&'static str>) {
    let (mut rpc, rest) = (OrdersClient::new(grpc(&shop.order)), &http(&shop.order));
    let ask = v1::GetOrderPageRequest { product_id: 99 };
    let none = both!(called, rpc, Orders/GetOrderPage, get_order_page(ask), rest, "GET" "/v1/order-pages/99", Value::Null);
    assert_eq!(none.err().as_deref(), Some("PRODUCT_NOT_FOUND"));
    let ask = v1::PlaceOrderRequest {
        customer: "eve".to_owned(),
        key: "key-0001".to_owned(),
        lines: vec![v1::Wanted {
            product_id: 4,
            quantity: 1,
        }],
    };
    let sent = serde_json::to_value(&ask).expect("JSON");
    let placed =
        both!(called, rpc, Orders/PlaceOrder, place_order(ask), rest, "POST" "/v1/orders", sent);
    let id = placed.expect("placed").id;
    let ask = v1::PayOrderRequest { id: id.clone() };
    let path = format!("/v1/orders/{id}/pay");
    let paid = both!(
        called,
        rpc,
        Orders / PayOrder,
        pay_order(ask),
        rest,
        "POST" & path,
        json!({})
    );
    assert_eq!(paid.map(|order| order.status()), Ok(v1::OrderStatus::Paid));
    let ask = v1::GetOrderRequest { id: id.clone() };
    let path = format!("/v1/orders/{id}");
    let found = both!(
        called,
        rpc,
        Orders / GetOrder,
        get_order(ask),
        rest,
        "GET" & path,
        Value::Null
    );
    assert_eq!(found.map(|order| order.id), Ok(id));
    let ask = v1::ListOrdersRequest {
        customer: "eve".to_owned(),
    };
    let path = "/v1/customers/eve/orders";
    let listed =
        both!(called, rpc, Orders/ListOrders, list_orders(ask), rest, "GET" path, Value::Null);
    assert_eq!(listed.map(|page| page.orders.len()), Ok(1));
}
