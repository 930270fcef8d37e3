//! The calls about orders: from messages to what the business knows, and back.

use seawall::api::{Error, Request};
use shop_api::v1;
use shop_api::v1::{CatalogError, OrderError as Why};

use super::biz::{self, Line, Order, OrderId, Orders, Place, ProductId, Status, Stock, Wanted};
use super::data::catalog::Catalog;
use super::data::{OrderView, Views};
use crate::config::Switches;
use crate::pkg::{Time, rpc};

/// Orders in a list at most.
const LATEST: u32 = 50;

/// Commands go through the business; queries straight to the tables, and to the catalog for the
/// page before an order.
pub struct Service<S, C, V> {
    store: S,
    commands: Orders<S, C>,
    queries: V,
    catalog: Catalog,
    switches: Switches,
}

impl<S: biz::Store + Clone, C: Stock, V: Views> Service<S, C, V> {
    /// Over these.
    pub fn new(
        store: S,
        commands: Orders<S, C>,
        queries: V,
        catalog: Catalog,
        switches: Switches,
    ) -> Self {
        Self {
            store,
            commands,
            queries,
            catalog,
            switches,
        }
    }
}

impl<S: biz::Store + Clone, C: Stock, V: Views> v1::Orders for Service<S, C, V> {
    async fn get_order_page(
        &self,
        request: Request<v1::GetOrderPageRequest>,
    ) -> Result<v1::OrderPage, Error> {
        let id = request.message().product_id;
        let extras = async {
            if self.switches.recommendations() {
                self.catalog.recommended(id).await
            } else {
                Vec::new()
            }
        };
        let (known, recommendations) = tokio::join!(self.catalog.product(id), extras);
        let known = known?;
        Ok(v1::OrderPage {
            product_id: known.product.id,
            title: known.product.title,
            price_cents: known.product.price_cents,
            stock: (!known.stale).then_some(known.product.stock),
            stale: known.stale,
            as_of: Some(rpc::timestamp(known.as_of)),
            recommendations,
        })
    }

    async fn place_order(
        &self,
        request: Request<v1::PlaceOrderRequest>,
    ) -> Result<v1::Order, Error> {
        let request = request.into_message();
        let line = |line: v1::Wanted| Wanted {
            product: ProductId(line.product_id),
            quantity: line.quantity,
        };
        let place = Place {
            customer: request.customer,
            key: request.key,
            lines: request.lines.into_iter().map(line).collect(),
        };
        let placed = self.commands.place(&place, Time::now()).await;
        placed.map(order).map_err(failed)
    }

    async fn pay_order(&self, request: Request<v1::PayOrderRequest>) -> Result<v1::Order, Error> {
        let id = OrderId(request.into_message().id);
        let paid = self.commands.pay(&id, Time::now()).await;
        paid.map(order).map_err(failed)
    }

    async fn get_order(&self, request: Request<v1::GetOrderRequest>) -> Result<v1::Order, Error> {
        let id = OrderId(request.into_message().id);
        let found = self.store.find(&id).await.map_err(failed)?;
        found
            .map(order)
            .ok_or_else(|| Error::of(Why::OrderNotFound))
    }

    async fn list_orders(
        &self,
        request: Request<v1::ListOrdersRequest>,
    ) -> Result<v1::ListOrdersReply, Error> {
        let customer = &request.message().customer;
        let found = self.queries.latest(customer, LATEST).await?;
        Ok(v1::ListOrdersReply {
            orders: found.into_iter().map(summary).collect(),
        })
    }
}

fn order(order: Order) -> v1::Order {
    let line = |line: Line| v1::ReservedLine {
        product_id: line.product.0,
        title: line.title,
        price_cents: rpc::cents(line.price.in_cents()),
        quantity: line.quantity,
    };
    v1::Order {
        id: order.id.0,
        customer: order.customer,
        lines: order.lines.into_iter().map(line).collect(),
        total_cents: rpc::cents(order.total.in_cents()),
        status: status(order.status).into(),
        placed_at: Some(rpc::timestamp(order.placed_at)),
        pay_by: Some(rpc::timestamp(order.pay_by)),
    }
}

fn summary(view: OrderView) -> v1::OrderSummary {
    v1::OrderSummary {
        id: view.id,
        total_cents: rpc::cents(view.total),
        status: status(view.status).into(),
        placed_at: Some(rpc::timestamp(Time::from_millis(view.placed_at))),
    }
}

fn status(status: Status) -> v1::OrderStatus {
    match status {
        Status::Unpaid => v1::OrderStatus::Unpaid,
        Status::Paid => v1::OrderStatus::Paid,
        Status::Expired => v1::OrderStatus::Expired,
    }
}

fn failed(error: biz::Error) -> Error {
    match error {
        biz::Error::NoOrder(_) => Error::of(Why::OrderNotFound),
        biz::Error::KeyUsed => Error::of(Why::KeyUsed),
        biz::Error::TooLate => Error::of(Why::TooLate),
        biz::Error::TooMuch(_) => Error::of(Why::TooExpensive),
        biz::Error::NoProduct(product) => {
            Error::of(CatalogError::ProductNotFound).with("product_id", product.0.to_string())
        }
        biz::Error::OutOfStock { product, left } => Error::of(CatalogError::OutOfStock)
            .with("product_id", product.0.to_string())
            .with("left", left.to_string()),
        biz::Error::NoCatalog(_) => Error::of(Why::StockUnknown).because(error),
        biz::Error::Store(failure) => rpc::failed(failure),
        biz::Error::Untold(_) => Error::internal(error),
    }
}
