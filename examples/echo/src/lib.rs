//! A service with a method of every kind, by gRPC and by JSON over HTTP.
//!
//! Its definition is `proto/echo/v1/echo.proto`.

use std::future::ready;

use futures_util::{StreamExt, stream};
use seawall::api::{Error, Messages, Replies, Request};

/// What the build made of the definition.
pub mod v1 {
    seawall::api::include_proto!("echo.v1");
}

use v1::{All, CountReply, CountRequest, EchoError, FailRequest, SayReply, SayRequest};

/// Says back what it is told.
#[derive(Debug, Default)]
pub struct Echo;

impl v1::Echo for Echo {
    async fn say(&self, request: Request<SayRequest>) -> Result<SayReply, Error> {
        Ok(said(request.into_message()))
    }

    async fn everything(&self, request: Request<All>) -> Result<All, Error> {
        Ok(request.into_message())
    }

    async fn fail(&self, request: Request<FailRequest>) -> Result<SayReply, Error> {
        if request.message().internal {
            return Err(Error::internal("the password is hunter2"));
        }
        let reason = request.message().reason();
        Err(Error::of(reason).with("reason", reason.as_str_name()))
    }

    async fn count(&self, request: Request<CountRequest>) -> Result<Replies<CountReply>, Error> {
        let CountRequest { to, fail_at } = request.into_message();
        let numbers = stream::iter(1..=to).map(move |number| {
            if number == fail_at {
                return Err(EchoError::TooLoud.into());
            }
            Ok(CountReply { number })
        });
        Ok(Replies::new(numbers))
    }

    async fn join(&self, mut request: Request<Messages<SayRequest>>) -> Result<SayReply, Error> {
        let mut text = String::new();
        while let Some(said) = request.message_mut().next().await {
            text.push_str(&said?.text);
        }
        Ok(SayReply { text })
    }

    async fn chat(
        &self,
        request: Request<Messages<SayRequest>>,
    ) -> Result<Replies<SayReply>, Error> {
        let replies = request
            .into_message()
            .then(|message| ready(message.map(said)));
        Ok(Replies::new(replies))
    }
}

fn said(request: SayRequest) -> SayReply {
    let style = request.style.unwrap_or_default();
    let text = request.text.repeat(style.times.max(1) as usize);
    let text = if style.loud {
        text.to_uppercase()
    } else {
        text
    };
    SayReply { text }
}
