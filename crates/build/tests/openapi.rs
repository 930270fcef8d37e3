//! What OpenAPI says of a definition.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

fn echo() -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/echo/proto");
    let dir = tempfile::tempdir().unwrap();
    seawall_build::Config::new()
        .out_dir(dir.path())
        .compile(&[root.join("echo/v1/echo.proto")], &[root])
        .unwrap();
    let text = fs::read_to_string(dir.path().join("echo.v1.openapi.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Every reference leads somewhere.
fn references(value: &Value, all: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(to)) = fields.get("$ref") {
                all.push(to.clone());
            }
            fields.values().for_each(|v| references(v, all));
        }
        Value::Array(items) => items.iter().for_each(|v| references(v, all)),
        _ => {}
    }
}

#[test]
fn it_tells_what_is_served() {
    let api = echo();
    assert_eq!(api["openapi"], "3.1.0");
    let paths: Vec<&String> = api["paths"].as_object().unwrap().keys().collect();
    assert_eq!(
        paths,
        [
            "/v1/chat",
            "/v1/count/{to}",
            "/v1/everything",
            "/v1/fail/{reason}",
            "/v1/inners/{inner.name}",
            "/v1/join",
            "/v1/say",
            "/v1/say/{text}",
            "/v1/say/{text}:shout",
            "/v1/{inner.name}/pages/{int32}",
        ]
    );
    let say = &api["paths"]["/v1/say"]["post"];
    assert_eq!(say["operationId"], "Echo_Say");
    assert_eq!(say["summary"], "Says a text back.");
    let body = &say["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(body["$ref"], "#/components/schemas/echo.v1.SayRequest");
    let text = &api["components"]["schemas"]["echo.v1.SayRequest"]["properties"]["text"];
    let expected =
        json!({"type": "string", "minLength": 1, "maxLength": 100, "description": "What to say."});
    assert_eq!(*text, expected);
    let all = &api["components"]["schemas"]["echo.v1.All"]["properties"];
    for (field, default) in [
        ("int32", json!(0)),
        ("int64", json!("0")),
        ("string", json!("")),
        ("int64s", json!([])),
        ("byNumber", json!({})),
        // Left out where it is not set, or bound to rules that its default may break.
        ("maybeNumber", Value::Null),
        ("inner", Value::Null),
        ("number", Value::Null),
        ("type", Value::Null),
    ] {
        assert_eq!(all[field]["default"], default, "{field}");
    }
    let count = &api["paths"]["/v1/count/{to}"]["get"];
    assert_eq!(count["parameters"][0]["in"], "path");
    assert_eq!(count["parameters"][0]["schema"]["maximum"], 1_000_000);
    assert_eq!(count["parameters"][1]["name"], "fail_at");
    assert!(count["responses"]["200"]["content"]["text/event-stream"].is_object());
    let get = api["paths"]["/v1/everything"]["get"]["parameters"]
        .as_array()
        .unwrap();
    let names: Vec<&str> = get.iter().filter_map(|p| p["name"].as_str()).collect();
    assert!(
        names.contains(&"inner.deep.at") && names.contains(&"strings"),
        "{names:?}"
    );
    assert!(
        !names.contains(&"by_name") && !names.contains(&"inners"),
        "{names:?}"
    );
}

#[test]
fn every_reference_leads_somewhere() {
    let api = echo();
    let mut all = Vec::new();
    references(&api, &mut all);
    assert!(all.len() > 20);
    for to in all {
        assert!(api.pointer(to.trim_start_matches('#')).is_some(), "{to}");
    }
}
