//! Where fields come from: body, path, query.

use echo::v1::SayRequest;
use serde_json::json;

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
    assert!(told["float"].take().is_null());
    let object = told.as_object_mut().unwrap();
    object.remove("float");
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
