//! The catalog's calls: from messages to what the business knows, and back.

use seawall::api::{Error, Request};
use seawall::data;
use seawall_cache::Error as NotCached;
use shop_api::v1;
use shop_api::v1::CatalogError as Why;

use super::biz::{self, Catalog, Held, ProductId, Reservation, ReservationId, Wanted};
use super::data::{ProductView, QueryError, Views};
use crate::config::Switches;
use crate::pkg::faults::Faults;
use crate::pkg::scarce::Scarce;
use crate::pkg::{Money, rpc};

/// Products on a page unless said.
const PAGE: u32 = 20;
/// Products that are recommended at most.
const RECOMMENDED: u32 = 5;

/// Commands go through the business, queries straight to the tables.
pub struct Service<S, V> {
    commands: Catalog<S>,
    queries: V,
    switches: Switches,
    scarce: Scarce,
    faults: Faults,
}

impl<S: biz::Store, V: Views> Service<S, V> {
    /// Over these.
    pub fn new(
        commands: Catalog<S>,
        queries: V,
        switches: Switches,
        scarce: Scarce,
        faults: Faults,
    ) -> Self {
        Self {
            commands,
            queries,
            switches,
            scarce,
            faults,
        }
    }
}

impl<S: biz::Store, V: Views> v1::Catalog for Service<S, V> {
    async fn get_product(
        &self,
        request: Request<v1::GetProductRequest>,
    ) -> Result<v1::Product, Error> {
        self.scarce.work().await;
        self.faults.look_up();
        let id = request.message().id;
        let found = self.queries.product(id).await?;
        found.map(product).ok_or_else(|| no_product(id))
    }

    async fn get_details(
        &self,
        request: Request<v1::GetDetailsRequest>,
    ) -> Result<v1::ProductDetails, Error> {
        let id = request.message().id;
        self.faults.remember();
        let found = self.queries.details(id).await?;
        let details = found.ok_or_else(|| no_product(id))?;
        let fact = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_owned(), value.to_owned()))
        };
        Ok(v1::ProductDetails {
            attributes: details.attributes.lines().filter_map(fact).collect(),
            description: details.description,
        })
    }

    async fn list_products(
        &self,
        request: Request<v1::ListProductsRequest>,
    ) -> Result<v1::ListProductsReply, Error> {
        let &v1::ListProductsRequest { after, page_size } = request.message();
        let most = if page_size == 0 { PAGE } else { page_size };
        self.faults.compute();
        let found = self.queries.list(after, most).await?;
        Ok(v1::ListProductsReply {
            products: found.into_iter().map(product).collect(),
        })
    }

    async fn recommend(
        &self,
        request: Request<v1::RecommendRequest>,
    ) -> Result<v1::RecommendReply, Error> {
        if !self.switches.recommendations() {
            return Ok(v1::RecommendReply::default());
        }
        let id = request.message().id;
        let found = self.queries.recommended(id, RECOMMENDED).await?;
        Ok(v1::RecommendReply {
            products: found.into_iter().map(product).collect(),
        })
    }

    async fn set_price(
        &self,
        request: Request<v1::SetPriceRequest>,
    ) -> Result<v1::SetPriceReply, Error> {
        let &v1::SetPriceRequest { id, price_cents } = request.message();
        let price = Money::cents(price_cents.into()).map_err(Error::internal)?;
        let done = self.commands.reprice(ProductId(id), price).await;
        done.map_err(failed)?;
        Ok(v1::SetPriceReply {})
    }

    async fn reserve(
        &self,
        request: Request<v1::ReserveRequest>,
    ) -> Result<v1::Reservation, Error> {
        self.scarce.work().await;
        let request = request.into_message();
        let wanted = request.lines.iter().map(|line| Wanted {
            product: ProductId(line.product_id),
            quantity: line.quantity,
        });
        let wanted: Vec<_> = wanted.collect();
        let until = rpc::time(&request.until.unwrap_or_default());
        let id = ReservationId(request.id);
        let held = self.commands.reserve(&id, &wanted, until).await;
        held.map(reservation).map_err(failed)
    }

    async fn confirm(
        &self,
        request: Request<v1::ConfirmRequest>,
    ) -> Result<v1::ConfirmReply, Error> {
        let id = ReservationId(request.into_message().id);
        self.commands.confirm(&id).await.map_err(failed)?;
        Ok(v1::ConfirmReply {})
    }

    async fn release(
        &self,
        request: Request<v1::ReleaseRequest>,
    ) -> Result<v1::ReleaseReply, Error> {
        let id = ReservationId(request.into_message().id);
        self.commands.release(&id).await.map_err(failed)?;
        Ok(v1::ReleaseReply {})
    }
}

fn product(view: ProductView) -> v1::Product {
    v1::Product {
        id: view.id,
        title: view.title,
        price_cents: rpc::cents(view.price),
        stock: view.stock,
    }
}

fn reservation(held: Reservation) -> v1::Reservation {
    let line = |line: Held| v1::ReservedLine {
        product_id: line.product.0,
        title: line.title,
        price_cents: rpc::cents(line.price.in_cents()),
        quantity: line.quantity,
    };
    v1::Reservation {
        id: held.id.0,
        lines: held.lines.into_iter().map(line).collect(),
    }
}

fn no_product(id: u32) -> Error {
    Error::of(Why::ProductNotFound).with("product_id", id.to_string())
}

/// What callers are told of a row that is not to be had: to come back where the database was too
/// busy or away, whoever found that out.
impl From<QueryError> for Error {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Database(error) => error.into(),
            QueryError::Cache(NotCached::Rejected(rejection)) => rejection.into(),
            QueryError::Cache(NotCached::Deadline) => data::Error::Deadline.into(),
            // Others have waited for it, too, so it is not ours to take.
            QueryError::Cache(NotCached::Load(cause)) => match cause.downcast_ref() {
                Some(data::Error::Deadline) => data::Error::Deadline.into(),
                known => match known.and_then(data::Error::rejection) {
                    Some(rejection) => rejection.into(),
                    None => Self::internal(cause),
                },
            },
            QueryError::Cache(error) => Self::internal(error),
        }
    }
}

fn failed(error: biz::Error) -> Error {
    match error {
        biz::Error::NoProduct(product) => no_product(product.0),
        biz::Error::OutOfStock { product, left } => Error::of(Why::OutOfStock)
            .with("product_id", product.to_string())
            .with("left", left.to_string()),
        biz::Error::NotHeld(_) => Error::of(Why::ReservationNotHeld),
        // The definition's rules say the same, so nobody gets this far.
        biz::Error::Wanted => Error::invalid(Vec::new()).message(error.to_string()),
        biz::Error::Store(failure) => rpc::failed(failure),
    }
}
