//! Whoever hears what became of orders: the notify service.

use seawall::Client;
use seawall::client::Grpc;
use shop_api::v1;
use shop_api::v1::notify_client::NotifyClient;

use crate::order::biz::{Error, Event, Tell, What};
use crate::pkg::rpc;

/// Calls the notify service.
#[derive(Clone)]
pub struct Notify(NotifyClient<Grpc>);

impl Notify {
    /// By this client.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        Self(NotifyClient::new(client.grpc()))
    }
}

impl Tell for Notify {
    async fn tell(&self, event: &Event) -> Result<(), Error> {
        let request = rpc::call(message(event));
        let answer = self.0.clone().hear(request).await;
        answer
            .map(drop)
            .map_err(|status| Error::Untold(status.to_string()))
    }
}

/// An event as a message.
#[must_use]
pub fn message(event: &Event) -> v1::OrderEvent {
    let what = match event.what {
        What::Placed => v1::Happened::OrderPlaced,
        What::Paid => v1::Happened::OrderPaid,
        What::Expired => v1::Happened::OrderExpired,
    };
    v1::OrderEvent {
        order_id: event.order.0.clone(),
        what: what.into(),
        customer: event.customer.clone(),
        total_cents: rpc::cents(event.total.in_cents()),
        pay_by: Some(rpc::timestamp(event.pay_by)),
        at: Some(rpc::timestamp(event.at)),
    }
}
