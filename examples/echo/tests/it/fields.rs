//! Where fields come from: body, path, query.

use echo::v1::SayRequest;
use serde_json::{Value, json};

use crate::server::serve;

#[tokio::test]
async fn one_method_by_both_transports() {
    let served = serve().await;
    let reply = served
        .post("/v1/say", r#"{"text":"hi","style":{"loud":true}}"#)
        .await;
    assert_eq!(
        (reply.status.as_u16(), reply.text()),
        (200, r#"{"text":"HI"}"#)
    );
    assert_eq!(reply.header("content-type"), "application/json");
    let request = SayRequest {
        text: "hi".into(),
        style: None,
    };
    let reply = served.grpc().await.say(request).await.unwrap();
    assert_eq!(reply.into_inner().text, "hi");
}

#[tokio::test]
async fn path_query_and_body() {
    let served = serve().await;
    let text = async |path: &str| served.get(path).await.json()["text"].clone();
    assert_eq!(text("/v1/say/hello").await, "hello");
    assert_eq!(text("/v1/say/a%2Fb%20c").await, "a/b c");
    assert_eq!(text("/v1/say/x?style.loud=true&style.times=3").await, "XXX");
    // What the path says goes before what the query says.
    assert_eq!(text("/v1/say/path?text=query").await, "path");
    // A custom verb, and a colon that is none.
    let shout = served.post("/v1/say/hey:shout", r#"{"loud":true}"#).await;
    assert_eq!(shout.json()["text"], "HEY");
    assert_eq!(text("/v1/say/hey:whisper").await, "hey:whisper");
    // A HEAD is a GET.
    let head = served.call("HEAD", "/v1/say/hello", &[], "").await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
}

#[tokio::test]
async fn a_query_sets_fields_of_every_type() {
    let served = serve().await;
    let query = "double=1.5&float=NaN&int32=-3&int64=9007199254740993&uint64=18446744073709551615\
        &bool=true&string=a+b%26&bytes=AAEC&color=COLOR_RED&inner.name=n&inner.deep.self=true\
        &strings=x&strings=y&int64s=1&int64s=2&colors=COLOR_GREEN&colors=1&maybe=a@b.c\
        &maybeNumber=0&at=2024-02-29T12:00:00Z&within=1.5s&mask=aB,c&wrapped=w&word=abc&type=a\
        &inner.deep.at=1970-01-01T00:00:01Z&again.again.int32=7";
    let reply = served.get(&format!("/v1/everything?{query}")).await;
    let mut told = reply.json();
    assert!(told["float"].is_null());
    defaults_out(&mut told);
    assert_eq!(
        told,
        json!({
            "double": 1.5, "int32": -3, "int64": "9007199254740993",
            "uint64": "18446744073709551615", "bool": true, "string": "a b&", "bytes": "AAEC",
            "color": "COLOR_RED",
            "inner": {"name": "n", "deep": {"self": true, "at": "1970-01-01T00:00:01Z"}},
            "strings": ["x", "y"], "int64s": ["1", "2"],
            "colors": ["COLOR_GREEN", "COLOR_RED"], "maybe": "a@b.c", "maybeNumber": "0",
            "at": "2024-02-29T12:00:00Z", "within": "1.500s", "mask": "aB,c", "wrapped": "w",
            "word": "abc", "type": "a", "again": {"again": {"int32": 7}},
        })
    );
}

/// Without what every reply has, set or not.
fn defaults_out(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.values_mut().for_each(defaults_out);
        let empty = |value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => ["", "COLOR_UNSPECIFIED"].contains(&text.as_str()),
            Value::Number(number) => number.as_f64() == Some(0.0),
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            Value::Bool(true) => false,
        };
        // A 64-bit zero that is set is told from one that is not by its name.
        fields.retain(|name, value| {
            let zero = *value == "0" && !name.starts_with("maybe");
            !zero && !empty(value)
        });
    }
}

#[tokio::test]
async fn a_reply_has_every_field_but_those_that_may_be_absent_and_are() {
    let served = serve().await;
    let reply = served.post("/v1/everything", "{}").await;
    assert_eq!(
        reply.json(),
        json!({
            "double": 0.0, "float": 0.0, "int32": 0, "int64": "0", "uint32": 0, "uint64": "0",
            "sint64": "0", "fixed32": 0, "bool": false, "string": "", "bytes": "",
            "color": "COLOR_UNSPECIFIED", "strings": [], "int64s": [], "colors": [], "inners": [],
            "byName": {}, "byNumber": {}, "type": "",
        })
    );
    let set = r#"{"maybe": "a@b.c", "maybeNumber": 0, "inner": {}, "number": 0, "again": {}}"#;
    let reply = served.post("/v1/everything", set).await.json();
    assert_eq!(reply["maybeNumber"], "0");
    assert_eq!(reply["number"], 0);
    assert_eq!(reply["inner"], json!({"name": "", "size": 0}));
    // What was read is what is written, by a caller that sends the reply back.
    let again = served.post("/v1/everything", reply.to_string()).await;
    assert_eq!(again.json(), reply);
}

#[tokio::test]
async fn variables_of_several_segments_and_parts_as_bodies() {
    let served = serve().await;
    let path = "/v1/shelves/a%20b/books/c%2Fd/pages/12";
    let headers = [("content-type", "application/json; charset=utf-8")];
    let reply = served
        .call("PUT", path, &headers, r#"{"name":"body","size":5}"#)
        .await;
    // An escaped slash stays so, since the slashes in the text tell segments apart.
    assert_eq!(
        reply.json(),
        json!({"name": "shelves/a b/books/c%2Fd", "size": 5})
    );
    let reply = served.get("/v1/inners/x/y/z").await;
    assert_eq!(reply.json(), json!([]));
}
