//! The stack knows every route that the service has, by the same method.

use std::sync::Arc;

use ::echo::{Echo, v1};
use axum::extract::Request;
use http_body_util::BodyExt;
use seawall::layer::{Methods, OTHER, Stack};
use tower::{Layer, ServiceExt};

/// One call at least by every template of the definition.
const CALLS: [(&str, &str, &str, &str); 14] = [
    ("POST", "/v1/say", r#"{"text": "a"}"#, "Say"),
    ("GET", "/v1/say/a", "", "Say"),
    ("HEAD", "/v1/say/a", "", "Say"),
    ("POST", "/v1/say/a:shout", "{}", "Say"),
    ("POST", "/v1/everything", "{}", "Everything"),
    ("GET", "/v1/everything", "", "Everything"),
    ("PUT", "/v1/shelves/1/books/2/pages/3", "{}", "Everything"),
    ("GET", "/v1/inners/a/b/c", "", "Everything"),
    ("GET", "/v1/inners", "", "Everything"),
    ("GET", "/v1/fail/NOBODY_THERE", "", "Fail"),
    ("GET", "/v1/count/3", "", "Count"),
    ("POST", "/v1/join", r#"{"text": "a"}"#, "Join"),
    ("POST", "/v1/chat", r#"{"text": "a"}"#, "Chat"),
    ("GET", "/v1/say/a:shout", "", "Say"),
];

fn request(verb: &str, path: &str, body: &'static str) -> Request {
    let lines = path.ends_with("join") || path.ends_with("chat");
    let kind = if lines { "x-ndjson" } else { "json" };
    let request = Request::builder().method(verb).uri(path);
    let request = request.header("content-type", format!("application/{kind}"));
    request.body(body.into()).unwrap()
}

#[tokio::test]
async fn every_template_leads_to_its_method_in_the_stack_and_below() {
    let methods = Arc::new(Methods::new(v1::echo::METHODS).unwrap());
    let stack = Stack::new(methods.clone());
    let service = stack.layer(v1::echo::service(Echo).http);
    let mut templates = std::collections::BTreeSet::new();
    for (verb, path, body, method) in CALLS {
        let name = format!("echo.v1.Echo/{method}");
        let told = methods.name_of(&request(verb, path, ""));
        assert_eq!(told, name, "{verb} {path}");
        let reply = service.clone().oneshot(request(verb, path, body)).await;
        let reply = reply.unwrap();
        let status = reply.status().as_u16();
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&body);
        let fails = method == "Fail";
        assert_eq!(
            status,
            if fails { 404 } else { 200 },
            "{verb} {path}: {text}"
        );
        assert!(!text.contains("ROUTE_NOT_FOUND"), "{verb} {path}");
        templates.insert((verb, path));
    }
    assert_eq!(templates.len(), CALLS.len());
    let routes: usize = methods.iter().map(|method| method.http.len()).sum();
    assert_eq!(routes, 11, "a template is new: call it here");
    for path in ["/v1", "/v1/say", "/v1/say/a/b", "/v1/count/"] {
        assert_eq!(methods.name_of(&request("GET", path, "")), OTHER, "{path}");
    }
}
