//! The catalog, as orders need it: stock for the business, products for the page.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use seawall::Client;
use seawall::api::Error as Failed;
use seawall::client::Grpc;
use shop_api::v1;
use shop_api::v1::CatalogError as Why;
use shop_api::v1::catalog_client::CatalogClient;

use crate::order::biz::{Error, Line, OrderId, ProductId, Stock, Wanted};
use crate::pkg::{Money, Time, rpc};

/// How long the page of an order waits for a product, and for what goes with it.
const FOR_PRODUCT: Duration = Duration::from_millis(500);
const FOR_EXTRAS: Duration = Duration::from_millis(150);
/// Products that are remembered for when the catalog is away.
const REMEMBERED: usize = 10_000;

/// Calls the catalog. Deadline, criticality, tenant and trace of the call that is being answered
/// go along by themselves.
#[derive(Clone)]
pub struct Catalog {
    client: CatalogClient<Grpc>,
    last: Arc<Mutex<HashMap<u32, Known>>>,
}

/// A product, and when it was so.
#[derive(Clone, Debug)]
pub struct Known {
    /// The product.
    pub product: v1::Product,
    /// When.
    pub as_of: Time,
    /// The catalog could not be asked now.
    pub stale: bool,
}

impl Catalog {
    /// By this client.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        Self {
            client: CatalogClient::new(client.grpc()),
            last: Arc::default(),
        }
    }

    /// A product, or what was last known of it while the catalog cannot be asked.
    ///
    /// # Errors
    /// There is none; or the catalog cannot be asked, and it never was before.
    pub async fn product(&self, id: u32) -> Result<Known, Failed> {
        let mut request = rpc::call(v1::GetProductRequest { id });
        request.set_timeout(FOR_PRODUCT);
        let answer = self.client.clone().get_product(request).await;
        let failed = match answer
            .map(tonic::Response::into_inner)
            .map_err(Failed::from)
        {
            Ok(product) => {
                let known = Known {
                    product,
                    as_of: Time::now(),
                    stale: false,
                };
                self.remember(id, known.clone());
                return Ok(known);
            }
            Err(failed) if failed.is(Why::ProductNotFound) => return Err(failed),
            Err(failed) => failed,
        };
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match last.get(&id) {
            Some(known) => Ok(Known {
                stale: true,
                ..known.clone()
            }),
            None => Err(failed),
        }
    }

    /// Products that go with one: none, where that is too much asked just now.
    pub async fn recommended(&self, id: u32) -> Vec<v1::Product> {
        let request = rpc::call_if_easy(v1::RecommendRequest { id }, FOR_EXTRAS);
        let answer = self.client.clone().recommend(request).await;
        answer.map_or_else(|_| Vec::new(), |reply| reply.into_inner().products)
    }

    fn remember(&self, id: u32, known: Known) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= REMEMBERED && !last.contains_key(&id) {
            // Any will do: what is asked for often is back at once.
            let some = last.keys().next().copied();
            some.map(|some| last.remove(&some));
        }
        last.insert(id, known);
    }
}

impl Stock for Catalog {
    async fn reserve(
        &self,
        order: &OrderId,
        wanted: &[Wanted],
        until: Time,
    ) -> Result<Vec<Line>, Error> {
        let line = |wanted: &Wanted| v1::Wanted {
            product_id: wanted.product.0,
            quantity: wanted.quantity,
        };
        let request = rpc::call(v1::ReserveRequest {
            id: order.0.clone(),
            lines: wanted.iter().map(line).collect(),
            until: Some(rpc::timestamp(until)),
        });
        let answer = self.client.clone().reserve(request).await;
        let held = answer.map_err(|status| failed(&status.into()))?;
        let line = |line: v1::ReservedLine| {
            Ok(Line {
                product: ProductId(line.product_id),
                title: line.title,
                price: Money::cents(line.price_cents.into())?,
                quantity: line.quantity,
            })
        };
        held.into_inner().lines.into_iter().map(line).collect()
    }

    async fn confirm(&self, order: &OrderId) -> Result<(), Error> {
        let id = order.0.clone();
        let request = rpc::call(v1::ConfirmRequest { id });
        let answer = self.client.clone().confirm(request).await;
        answer.map(drop).map_err(|status| failed(&status.into()))
    }

    async fn release(&self, order: &OrderId) -> Result<(), Error> {
        let id = order.0.clone();
        let request = rpc::call(v1::ReleaseRequest { id });
        let answer = self.client.clone().release(request).await;
        answer.map(drop).map_err(|status| failed(&status.into()))
    }
}

/// By its reason, and not by its text.
fn failed(error: &Failed) -> Error {
    let fact = |name: &str| {
        let fact = error.metadata().get(name);
        fact.and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    let product = ProductId(fact("product_id"));
    if error.is(Why::OutOfStock) {
        let left = fact("left");
        Error::OutOfStock { product, left }
    } else if error.is(Why::ProductNotFound) {
        Error::NoProduct(product)
    } else if error.is(Why::ReservationNotHeld) {
        Error::TooLate
    } else {
        Error::NoCatalog(error.to_string())
    }
}
