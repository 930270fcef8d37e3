//! The description of the program's services, and a page to read and try them.

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use serde_json::{Map, Value, json};

use super::admin;

/// Needs nothing from elsewhere, so it works offline and tells nobody who reads it.
const PAGE: &str = include_str!("docs.html");

/// One description of all of them; services of one proto package share one already.
pub(super) fn merged<'a>(
    title: &str,
    version: &str,
    parts: impl Iterator<Item = &'a str>,
) -> Result<Value, serde_json::Error> {
    let mut whole = json!({
        "openapi": "3.1.0",
        "info": { "title": title, "version": version },
        "paths": {},
        "components": {},
    });
    for part in parts {
        let part: Value = serde_json::from_str(part)?;
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
        let b = r#"{"paths": {"/a": {"post": {}}, "/b": {}}, "components": {"schemas": {"B": {}}}, "tags": [{"name": "a"}]}"#;
        let whole = merged("t", "1", [a, a, b].into_iter()).unwrap();
        assert_eq!(whole["paths"]["/a"]["get"]["x"], 1);
        assert!(whole["paths"]["/a"]["post"].is_object() && whole["paths"]["/b"].is_object());
        assert_eq!(whole["components"]["schemas"].as_object().unwrap().len(), 2);
        assert_eq!(whole["tags"].as_array().unwrap().len(), 1);
        assert!(merged("t", "1", ["{"].into_iter()).is_err());
    }

    #[test]
    fn the_page_stands_alone() {
        assert!(!PAGE.contains("http://") && !PAGE.contains("https://"));
        assert!(!PAGE.contains("src=") && !PAGE.contains("<link") && !PAGE.contains("@import"));
    }
}
