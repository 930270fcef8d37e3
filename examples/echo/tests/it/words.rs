//! Names that Rust has for itself work, at both ends of both transports.

use seawall::api::{Error, Replies, Request};
use serde_json::json;

#[allow(dead_code, unreachable_pub)]
mod made {
    seawall::api::include_proto!("words.type.v1");
}

#[allow(dead_code, unreachable_pub)]
mod all {
    seawall::api::include_proto!();
}

use made::{Enum, Loop, Struct};

struct Words;

impl made::Match for Words {
    async fn r#async(&self, request: Request<Struct>) -> Result<Struct, Error> {
        Ok(request.into_message())
    }

    async fn self_(&self, _: Request<Struct>) -> Result<Replies<Struct>, Error> {
        Err(Loop::Self_.into())
    }
}

#[tokio::test]
async fn reserved_words() {
    let service = made::r#match::service(Words);
    assert_eq!(service.methods[1].name, "words.type.v1.Match/Self");
    let mut routes = service.http;
    let get = async |path: &str, routes: &mut seawall::api::Routes| {
        let request = http::Request::get(path)
            .body(axum::body::Body::empty())
            .unwrap();
        let reply = tower::Service::call(routes, request).await.unwrap();
        let body = axum::body::to_bytes(reply.into_body(), 1 << 20)
            .await
            .unwrap();
        serde_json::from_slice::<serde_json::Value>(&body).unwrap()
    };
    let path = "/v1/t/s?enum=ENUM_SELF&gen=true&move=2&fn=abc&yield.crate=true&ref.super.self=x";
    assert_eq!(
        get(path, &mut routes).await,
        json!({
            "type": "t", "ref": {"self": "s", "super": {"self": "x"}}, "enum": "ENUM_SELF",
            "gen": true, "move": ["ENUM_CRATE"], "fn": "abc", "yield": {"crate": true},
        })
    );
    let told = get("/v1/t/s?enum=0&fn=long&ref.super.super.self=x", &mut routes).await;
    let fields: Vec<_> = told["violations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| &v["field"])
        .collect();
    assert_eq!(fields, [&json!("ref.super.self"), &json!("fn")]);
    let there: Struct = serde_json::from_value(json!({"gen": true, "enum": "ENUM_SELF"})).unwrap();
    assert_eq!((there.r#gen, there.r#enum()), (true, Enum::Self_));
    assert!(Error::from(Loop::Self_).is(Loop::Self_));
    // Taken in with all packages at once, each in the modules of its name.
    assert_eq!(all::words::r#type::v1::r#match::METHODS.len(), 2);
    assert_eq!(all::echo::v1::SayReply::default().text, "");
}
