//! What is made from the table of settings: the printed default, explanations, the schema.

use seawall::config::{Config, SETTINGS, default_toml, explain, json_schema, setting};
use seawall_policy::Criticality;

fn defaults() -> Config {
    Config::for_upstream("http://127.0.0.1:3000".parse().expect("a URL"))
}

#[test]
fn the_printed_default_is_the_default() {
    let text = default_toml();
    assert_eq!(
        Config::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}")),
        defaults()
    );
}

#[test]
fn every_printed_example_is_valid() {
    // All comments that hold a setting or a section are taken away.
    let is_code = |line: &str| {
        line.starts_with("# [")
            || line
                .split_once(" = ")
                .is_some_and(|(k, _)| k[2..].bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
    };
    let text: String = default_toml()
        .lines()
        .map(|line| {
            if line.starts_with("# ") && is_code(line) {
                &line[2..]
            } else {
                line
            }
        })
        .filter(|line| !line.starts_with("path_prefix")) // a route has path or path_prefix
        .map(|line| format!("{line}\n"))
        .collect();
    let config = Config::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    for s in SETTINGS.iter().filter(|s| s.key != "routes[].path_prefix") {
        let name = s.key.rsplit('.').next().unwrap();
        assert!(
            text.contains(&format!("\n{name} = {}\n", s.example)),
            "{} is printed",
            s.key
        );
    }
    assert_eq!(config.routes[0].criticality, Some(Criticality::Sheddable));
    assert_eq!(config.lanes["search"].share, Some(0.3));
}

#[test]
fn what_a_setting_does_can_be_asked() {
    for (key, found) in [
        ("drain_timeout", Some("drain_timeout")),
        ("listeners.public.trust", Some("listeners.*.trust")),
        ("routes[].lane", Some("routes[].lane")),
        ("routes[3].lane", Some("routes[].lane")),
        ("routes.lane", Some("routes[].lane")),
        ("under_way.keys[0].id", Some("under_way.keys[].id")),
        ("listeners.public", None),
        ("nothing", None),
    ] {
        assert_eq!(setting(key).map(|s| s.key), found, "{key}");
    }
    for s in SETTINGS {
        let text = explain(s);
        assert!(
            text.contains(s.reason) && s.what.ends_with('.') && !s.reason.ends_with('.'),
            "{text}"
        );
    }
}

#[test]
fn the_schema_knows_every_setting() {
    let schema = json_schema();
    for s in SETTINGS {
        let mut node = &schema;
        for part in s.key.split('.') {
            node = match part.strip_suffix("[]") {
                Some(list) => &node["properties"][list]["items"],
                None if part == "*" => &node["additionalProperties"],
                None => &node["properties"][part],
            };
        }
        assert!(
            node["description"]
                .as_str()
                .is_some_and(|d| d.starts_with(s.what)),
            "{}",
            s.key
        );
    }
    assert_eq!(
        schema["properties"]["listeners"]["additionalProperties"]["required"],
        serde_json::json!(["address"])
    );
    assert_eq!(
        schema["properties"]["admission"]["properties"]["max_queued"]["default"],
        4096
    );
}
