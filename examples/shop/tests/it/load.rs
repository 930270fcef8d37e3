//! A load test: many customers at once, each of whom asks twice. It asserts counts and no times,
//! so that it means the same on a slow machine; how fast it goes is for `cargo xtask bench`.

use serde_json::json;
use tokio::task::JoinSet;

use crate::shop::{Shop, get, http, send};

const CUSTOMERS: u32 = 16;
const ORDERS: u32 = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_order_at_once_and_nothing_is_sold_twice_or_lost() {
    let shop = Shop::start().await;
    let (orders, catalog) = (http(&shop.order), http(&shop.catalog));
    let mut customers = JoinSet::new();
    for customer in 0..CUSTOMERS {
        let orders = orders.clone();
        customers.spawn(async move {
            let mut placed = 0;
            for order in 0..ORDERS {
                let wanted = json!({
                    "customer": format!("customer {customer}"),
                    "key": format!("key-{order:04}"),
                    "lines": [{"productId": 5, "quantity": 1}, {"productId": 6, "quantity": 2}],
                });
                // Who is turned away asks again, as they are told to.
                let (mut first, mut again) = (None, None);
                for answer in [&mut first, &mut again] {
                    while answer.is_none() {
                        let (status, body) =
                            send(&orders, "POST", "/v1/orders", wanted.clone()).await;
                        match status {
                            200 => *answer = Some(body),
                            429 | 503 => tokio::task::yield_now().await,
                            _ => panic!("{status} {body}"),
                        }
                    }
                }
                assert_eq!(first, again);
                placed += 1;
            }
            placed
        });
    }
    let placed: u32 = customers.join_all().await.into_iter().sum();
    assert_eq!(placed, CUSTOMERS * ORDERS);
    for (product, each) in [(5, 1), (6, 2)] {
        let (_, row) = get(&catalog, &format!("/v1/products/{product}")).await;
        assert_eq!(row["stock"], 10_000 - each * placed);
    }
    shop.stop().await;
}
