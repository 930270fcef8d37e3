//! Callers of ours: the generated client over `seawall::Client`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use ::echo::v1::{
    self, All, CountReply, CountRequest, EchoError, FailRequest, SayReply, SayRequest,
};
use seawall::api::tonic;
use seawall::api::{Code, Error, Messages, Replies, Request};
use seawall::client::CallExt;
use seawall::{Client, Criticality};

use crate::server::serve_this;

/// Fails each first call of two, and says who called.
#[derive(Debug, Default)]
struct Flaky {
    calls: AtomicUsize,
}

impl Flaky {
    fn answer<A>(&self, request: &Request<A>) -> Result<SayReply, Error> {
        if self.calls.fetch_add(1, SeqCst).is_multiple_of(2) {
            return Err(Error::internal("a bad day"));
        }
        let text = format!("{:?}", request.headers().get("seawall-criticality"));
        Ok(SayReply { text })
    }
}

impl v1::Echo for Flaky {
    async fn say(&self, request: Request<SayRequest>) -> Result<SayReply, Error> {
        self.answer(&request)
    }

    async fn everything(&self, _: Request<All>) -> Result<All, Error> {
        std::future::pending().await
    }

    async fn fail(&self, request: Request<FailRequest>) -> Result<SayReply, Error> {
        self.answer(&request)
    }

    async fn count(&self, _: Request<CountRequest>) -> Result<Replies<CountReply>, Error> {
        Err(EchoError::TooLoud.into())
    }

    async fn join(&self, _: Request<Messages<SayRequest>>) -> Result<SayReply, Error> {
        Err(EchoError::TooLoud.into())
    }

    async fn chat(&self, _: Request<Messages<SayRequest>>) -> Result<Replies<SayReply>, Error> {
        Err(EchoError::TooLoud.into())
    }
}

#[tokio::test]
async fn a_call_is_repeated_where_its_method_is_idempotent_or_it_says_so() {
    let flaky = Arc::new(Flaky::default());
    let served = serve_this(v1::echo::shared(flaky.clone())).await;
    let client = Client::new(&served.grpc_url()).unwrap();
    let mut echo = v1::echo::client(&client);
    let say = || SayRequest {
        text: "a".to_owned(),
        style: None,
    };
    let calls = || flaky.calls.swap(0, SeqCst);
    // All its routes are GET.
    let fail = FailRequest {
        reason: EchoError::NobodyThere.into(),
        internal: false,
    };
    echo.fail(fail.clone()).await.unwrap();
    assert_eq!(calls(), 2);
    // Without the methods nothing is known of it.
    let mut bare = v1::echo_client::EchoClient::new(client.grpc());
    let status = bare.fail(fail).await.unwrap_err();
    assert_eq!((status.code(), calls()), (Code::Internal, 1));
    // A POST is for once.
    let status = echo.say(say()).await.unwrap_err();
    assert_eq!((status.code(), calls()), (Code::Internal, 1));
    let call = tonic::Request::new(say()).repeatable();
    echo.say(call).await.unwrap();
    assert_eq!(calls(), 2);
}

#[tokio::test]
async fn a_call_is_told_its_time_and_how_much_depends_on_it() {
    let served = serve_this(v1::echo::shared(Arc::new(Flaky::default()))).await;
    let client = Client::new(&served.grpc_url()).unwrap();
    let mut echo = v1::echo::client(&client);
    let call = tonic::Request::new(All::default()).timeout(Duration::from_millis(50));
    let status = echo.everything(call).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let say = SayRequest {
        text: "a".to_owned(),
        style: None,
    };
    let call = tonic::Request::new(say).criticality(Criticality::Sheddable);
    let reply = echo.say(call.repeatable()).await.unwrap();
    assert!(reply.into_inner().text.contains("sheddable"));
}
