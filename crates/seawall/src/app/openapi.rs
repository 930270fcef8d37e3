//! The description of the program's services, and a page to read and try them.

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use serde_json::{Map, Value, json};

use super::admin;

/// Needs nothing from elsewhere, so it works offline and tells nobody who reads it.
const PAGE: &str = include_str!("docs.html");

/// One description of the named services. Each comes with that of its whole proto package, of which
/// perhaps not all is served here.
pub(super) fn merged<'a>(
    title: &str,
    version: &str,
    parts: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<Value, serde_json::Error> {
    let mut whole = json!({
        "openapi": "3.1.0",
        "info": { "title": title, "version": version },
        "paths": {},
        "components": {},
    });
    for (service, part) in parts {
        let mut part: Value = serde_json::from_str(part)?;
        keep(service.rsplit('.').next().unwrap_or(service), &mut part);
        merge(&mut whole["paths"], &part["paths"]);
        merge(&mut whole["components"], &part["components"]);
        if let Some(tags) = part["tags"].as_array() {
            if whole["tags"].is_null() {
                whole["tags"] = json!([]);
            }
            if let Some(all) = whole["tags"].as_array_mut() {
                for tag in tags {
                    if !all.contains(tag) {
                        all.push(tag.clone());
                    }
                }
            }
        }
    }
    Ok(whole)
}

/// Leaves the operations of one service, which are tagged with its name.
fn keep(service: &str, part: &mut Value) {
    if let Some(tags) = part["tags"].as_array_mut() {
        tags.retain(|tag| tag["name"] == service);
    }
    let Some(paths) = part["paths"].as_object_mut() else {
        return;
    };
    for operations in paths.values_mut().filter_map(Value::as_object_mut) {
        operations.retain(|_, operation| match operation["tags"].as_array() {
            Some(tags) => tags.iter().any(|tag| tag == service),
            None => true,
        });
    }
    paths.retain(|_, operations| operations.as_object().is_none_or(|all| !all.is_empty()));
}

/// Adds what is not there; the same name means the same thing, since names carry their package.
fn merge(whole: &mut Value, part: &Value) {
    let Some(fields) = part.as_object() else {
        return;
    };
    if whole.is_null() {
        *whole = Value::Object(Map::new());
    }
    for (name, value) in fields {
        match &mut whole[name.as_str()] {
            there @ Value::Null => *there = value.clone(),
            there @ Value::Object(_) => merge(there, value),
            _ => {}
        }
    }
}

/// `/openapi.json` and `/docs`.
pub(super) fn router(description: Value) -> Router {
    Router::new()
        .route(
            "/openapi.json",
            get(async move || admin::json(&description)),
        )
        .route("/docs", get(async || Html(PAGE)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_one() {
        let a = r#"{"paths": {"/a": {"get": {"x": 1}}}, "components": {"schemas": {"A": {}}}, "tags": [{"name": "a"}]}"#;
        let b = r#"{"paths": {"/a": {"post": {}}, "/b": {"get": {}}}, "components": {"schemas": {"B": {}}}, "tags": [{"name": "a"}]}"#;
        let whole = merged("t", "1", [("p.a", a), ("p.a", a), ("p.a", b)].into_iter()).unwrap();
        assert_eq!(whole["paths"]["/a"]["get"]["x"], 1);
        assert!(whole["paths"]["/a"]["post"].is_object() && whole["paths"]["/b"].is_object());
        assert_eq!(whole["components"]["schemas"].as_object().unwrap().len(), 2);
        assert_eq!(whole["tags"].as_array().unwrap().len(), 1);
        assert!(merged("t", "1", [("p.a", "{")].into_iter()).is_err());
    }

    #[test]
    fn what_is_not_served_is_not_told() {
        let package = r#"{"tags": [{"name": "A"}, {"name": "B"}], "paths": {
            "/a": {"get": {"tags": ["A"]}},
            "/b": {"get": {"tags": ["B"]}},
            "/both": {"get": {"tags": ["A"]}, "post": {"tags": ["B"]}}
        }}"#;
        let told = |services: &[&'static str]| {
            let parts = services.iter().map(|name| (*name, package));
            merged("t", "1", parts).unwrap()
        };
        let one = told(&["p.v1.A"]);
        assert_eq!(
            one["paths"],
            json!({"/a": {"get": {"tags": ["A"]}}, "/both": {"get": {"tags": ["A"]}}})
        );
        assert_eq!(one["tags"], json!([{"name": "A"}]));
        let two = told(&["p.v1.A", "p.v1.B"]);
        assert!(two["paths"]["/b"].is_object() && two["paths"]["/both"]["post"].is_object());
        assert_eq!(two["tags"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn the_page_stands_alone() {
        assert!(!PAGE.contains("http://") && !PAGE.contains("https://"));
        assert!(!PAGE.contains("src=") && !PAGE.contains("@import") && !PAGE.contains("url("));
        // An icon of nothing, so that browsers do not ask for one.
        assert_eq!(PAGE.matches("<link").count(), 1);
        assert!(PAGE.contains("<link rel=\"icon\" href=\"data:,\">"));
        assert!(PAGE.contains("default-src 'none'") && PAGE.contains("connect-src 'self'"));
    }
}
