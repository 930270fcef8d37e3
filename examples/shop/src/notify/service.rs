//! The calls about notices.

use prost::Message as _;
use seawall::api::{Error, Request, Validate as _};
use seawall::app::BoxError;
use shop_api::v1;

use super::biz::{self, Happened, Notice, Notices, Order, State};
use super::data::Views;
use crate::pkg::{Money, rpc};

/// Notices in a list at most.
const LATEST: u32 = 50;

/// Commands go through the business, queries straight to the table.
pub struct Service<S, V> {
    commands: Notices<S>,
    queries: V,
}

impl<S: biz::Store, V: Views> Service<S, V> {
    /// Over these.
    pub fn new(commands: Notices<S>, queries: V) -> Self {
        Self { commands, queries }
    }
}

impl<S: biz::Store, V: Views> v1::Notify for Service<S, V> {
    async fn hear(&self, request: Request<v1::OrderEvent>) -> Result<v1::HearReply, Error> {
        hear(&self.commands, request.into_message()).await?;
        Ok(v1::HearReply {})
    }

    async fn list_notices(
        &self,
        request: Request<v1::ListNoticesRequest>,
    ) -> Result<v1::ListNoticesReply, Error> {
        let customer = &request.message().customer;
        let found = self.queries.latest(customer, LATEST).await?;
        Ok(v1::ListNoticesReply {
            notices: found.into_iter().map(notice).collect(),
        })
    }
}

/// Hears an event, by whichever way it came.
///
/// # Errors
/// It makes no sense, or it cannot be kept.
pub async fn hear<S: biz::Store>(notices: &Notices<S>, event: v1::OrderEvent) -> Result<(), Error> {
    let happened = match event.what() {
        v1::Happened::OrderPlaced => Happened::Placed,
        v1::Happened::OrderPaid => Happened::Paid,
        v1::Happened::OrderExpired => Happened::Expired,
        v1::Happened::Unspecified => {
            return Err(Error::invalid(Vec::new()).message("it says not what happened"));
        }
    };
    let order = Order {
        id: event.order_id,
        customer: event.customer,
        total: Money::cents(event.total_cents.into()).map_err(Error::internal)?,
        pay_by: rpc::time(&event.pay_by.unwrap_or_default()),
    };
    let at = rpc::time(&event.at.unwrap_or_default());
    let kept = notices.hear(happened, &order, at).await;
    kept.map_err(|error| match error {
        biz::Error::Store(failure) => rpc::failed(failure),
        biz::Error::Mail(_) => Error::internal(error),
    })
}

/// Hears an event as the queue brings it.
///
/// # Errors
/// As [`hear`]; or it is no event.
pub async fn hear_bytes<S: biz::Store>(notices: &Notices<S>, bytes: &[u8]) -> Result<(), BoxError> {
    let event = v1::OrderEvent::decode(bytes)?;
    event.check()?;
    Ok(hear(notices, event).await?)
}

fn notice(notice: Notice) -> v1::Notice {
    let state = match notice.state {
        State::Due => v1::NoticeState::Due,
        State::Sent => v1::NoticeState::Sent,
        State::Cancelled => v1::NoticeState::Cancelled,
        State::Failed => v1::NoticeState::Failed,
    };
    v1::Notice {
        order_id: notice.order,
        text: notice.text,
        due: Some(rpc::timestamp(notice.due)),
        state: state.into(),
    }
}
