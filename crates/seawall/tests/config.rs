//! What a person meets who writes a configuration: errors by line, warnings.

use seawall::config::{Algorithm, Config, Kind, SETTINGS};
use seawall::context::Trust;
use std::time::Duration;

const UPSTREAM: &str = "[upstreams.default]\nurl = \"http://127.0.0.1:3000\"\n";

/// The errors of a text, a line each.
fn errors(text: &str) -> Vec<String> {
    Config::parse(text)
        .expect_err("the text has errors")
        .0
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// The one error of a text that begins with an upstream; its line counts from the text's own first.
fn error(text: &str) -> String {
    let all = errors(&format!("{text}\n{UPSTREAM}"));
    assert_eq!(all.len(), 1, "{all:#?}");
    all[0].clone()
}

fn defaults() -> Config {
    Config::for_upstream("http://127.0.0.1:3000".parse().expect("a URL"))
}

#[test]
fn an_upstream_is_all_that_is_needed() {
    assert_eq!(Config::parse(UPSTREAM).unwrap(), defaults());
    let listener = &defaults().listeners["default"];
    assert_eq!(
        (listener.address.to_string().as_str(), listener.trust),
        ("127.0.0.1:8080", Trust::Edge)
    );
}

#[test]
fn every_choice_and_both_ends_of_every_range_are_taken() {
    let write = |key: &str, value: &str| {
        let mut text = String::new();
        let (parent, name) = key.rsplit_once('.').unwrap_or(("", key));
        match parent {
            "" => {}
            "listeners.*" => text += "[listeners.a]\naddress = \"127.0.0.1:0\"\n",
            "listeners.*.tls" => {
                text += "[listeners.a]\naddress = \"127.0.0.1:0\"\n[[listeners.a.tls.certificates]]\ncert = \"c\"\nkey = \"k\"\n[listeners.a.tls]\nclient_ca = \"a\"\n";
            }
            "upstreams.*" => text += "[upstreams.a]\nurl = \"http://a\"\n",
            below if below.starts_with("upstreams.*.") => {
                let below = below.replace('*', "a");
                text += &format!("[upstreams.a]\nurl = \"http://a\"\n[{below}]\n");
            }
            "lanes.*" => text += "[lanes.a]\n",
            below if below.contains("[].") => {
                let (list, table) = below.split_once("[].").unwrap();
                text += &format!("[[{list}]]\n[{list}.{table}]\n");
            }
            list if list.ends_with("[]") => {
                text += &format!("[[{}]]\n", list.trim_end_matches("[]"))
            }
            plain => text += &format!("[{plain}]\n"),
        }
        text += &format!("{name} = {value}\n");
        if name == "algorithm" && value.contains("fixed") {
            text += "initial_limit = 5\n";
        }
        if key == "upstreams.*.fallback.always" {
            text += "body = \"\"\n";
        }
        let parsed = Config::parse(&if parent.starts_with("upstreams.*") {
            text
        } else {
            format!("{text}{UPSTREAM}")
        });
        parsed.map(drop).map_err(|e| e.to_string())
    };
    for s in SETTINGS {
        let (good, bad): (Vec<String>, Vec<String>) = match s.kind {
            Kind::Choice(names) => (
                names.iter().map(|n| format!("\"{n}\"")).collect(),
                vec!["\"other\"".into(), "1".into()],
            ),
            Kind::Time(from, to) => (
                vec![format!("\"{from}ms\""), format!("\"{to}ms\"")],
                vec![
                    format!("\"{}ms\"", to + 1),
                    "5".into(),
                    "\"5\"".into(),
                    "\"5 sec\"".into(),
                    "true".into(),
                ],
            ),
            Kind::Size(from, to) => (
                vec![format!("\"{from}B\""), format!("\"{to}B\"")],
                vec![
                    format!("\"{}B\"", to + 1),
                    format!("\"{}B\"", from.wrapping_sub(1)),
                    "64".into(),
                    "\"64KB\"".into(),
                ],
            ),
            Kind::Count(from, to) => {
                let top = if s.key == "admission.min_limit" {
                    10_000
                } else {
                    to
                };
                (
                    vec![from.to_string(), top.to_string()],
                    vec![
                        (to + 1).to_string(),
                        "-1".into(),
                        "\"5\"".into(),
                        "1.5".into(),
                    ],
                )
            }
            Kind::Ratio(from, to) => (
                vec![from.to_string(), format!("{to:?}")],
                vec![
                    "2.0".into(),
                    format!("{:?}", from - 1e-7),
                    "nan".into(),
                    "\"half\"".into(),
                ],
            ),
            Kind::Flag => (
                vec!["true".into(), "false".into()],
                vec!["1".into(), "\"yes\"".into()],
            ),
            Kind::Endpoints => (
                [
                    "",
                    "\"a:1\"",
                    "\"[::1]:1 weight=2 zone=a\", \"dns://b:2\"",
                    "\"srv://_http._tcp.a\", \"file:///a\"",
                ]
                .map(|list| format!("[{list}]"))
                .into(),
                [
                    "\"a:1\"",
                    "[1]",
                    "[\"a\"]",
                    "[\"http://a:1\"]",
                    "[\"file://a\"]",
                ]
                .map(str::to_owned)
                .into(),
            ),
            Kind::Addresses => (
                ["[]", "[\"10.0.0.2:53\", \"[::1]:53\"]"]
                    .map(str::to_owned)
                    .into(),
                ["\"10.0.0.2:53\"", "[\"10.0.0.2\"]", "[\"name:53\"]", "[53]"]
                    .map(str::to_owned)
                    .into(),
            ),
            Kind::Headers => (
                ["[]", "[\"accept\", \"X-Tier\"]"].map(str::to_owned).into(),
                ["\"accept\"", "[\"a b\"]", "[\"\"]", "[1]"]
                    .map(str::to_owned)
                    .into(),
            ),
            Kind::Parameters => (
                ["[]", "[\"utm_source\", \"a[]\"]"]
                    .map(str::to_owned)
                    .into(),
                ["\"a\"", "[\"a=b\"]", "[\"\"]", "[1]"]
                    .map(str::to_owned)
                    .into(),
            ),
            Kind::HashOn => (
                ["client", "path", "header:x-user", "cookie:id"]
                    .map(|on| format!("\"{on}\""))
                    .into(),
                [
                    "\"user\"",
                    "\"header:\"",
                    "\"header:a b\"",
                    "\"cookie:\"",
                    "1",
                ]
                .map(str::to_owned)
                .into(),
            ),
            _ => continue,
        };
        for value in good {
            assert_eq!(write(s.key, &value), Ok(()), "{} = {value}", s.key);
        }
        for value in bad {
            assert!(write(s.key, &value).is_err(), "{} = {value}", s.key);
        }
    }
}

#[test]
fn an_unknown_key_is_told_with_the_nearest() {
    assert_eq!(
        error("[listeners.public]\naddress = \"127.0.0.1:1\"\nheadr_timeout = \"5s\""),
        "line 3, column 1: `listeners.public.headr_timeout` unknown setting: did you mean `header_timeout`?"
    );
    assert_eq!(
        error("colour = 1"),
        "line 1, column 1: `colour` unknown setting"
    );
    assert_eq!(
        error("max_wait = \"1s\""),
        "line 1, column 1: `max_wait` unknown setting: did you mean `admission.max_wait`?"
    );
    assert_eq!(
        error("[admision]"),
        "line 1, column 2: `admision` unknown setting: did you mean `admission`?"
    );
}

#[test]
fn a_wrong_unit_is_told_with_the_right_ones() {
    let sizes = "one of B, KiB, MiB, GiB (powers of 1,024)";
    for (key, value, told) in [
        // As the default is written: who writes 30 for 30 s must not be led to 30 ms.
        (
            "drain_timeout",
            "30",
            "a bare number has no unit: write \"30s\", say",
        ),
        (
            "drain_timeout",
            "1.5",
            "a bare number has no unit: write \"1.5s\", say",
        ),
        (
            "admission.max_wait",
            "30",
            "a bare number has no unit: write \"30ms\", say",
        ),
        (
            "admission.max_wait",
            "-30",
            "`-30` is not a number and a unit, such as \"100ms\"",
        ),
        (
            "context.timeout",
            "\"soon\"",
            "`soon` is not a number and a unit, such as \"15s\"",
        ),
        (
            "drain_timeout",
            "\"30sec\"",
            "unknown unit `sec`: one of us, ms, s, m, h, d (did you mean \"30s\"?)",
        ),
        (
            "drain_timeout",
            "\"2 Min\"",
            "unknown unit `Min`: one of us, ms, s, m, h, d (did you mean \"2m\"?)",
        ),
        (
            "drain_timeout",
            "\"1w\"",
            "unknown unit `w`: one of us, ms, s, m, h, d",
        ),
        (
            "drain_timeout",
            "\"64KiB\"",
            "`64KiB` is a size, and a time belongs here, such as \"30s\"",
        ),
        (
            "listeners.a.max_header_bytes",
            "65536",
            "a bare number has no unit: write \"65536B\", say",
        ),
        (
            "listeners.a.max_header_bytes",
            "\"64KB\"",
            &format!("unknown unit `KB`: {sizes} (did you mean \"64KiB\"?)"),
        ),
        (
            "listeners.a.max_header_bytes",
            "\"1m\"",
            &format!("unknown unit `m`: {sizes} (did you mean \"1MiB\"?)"),
        ),
        (
            "listeners.a.min_rate",
            "\"10s\"",
            "`10s` is a time, and a size belongs here, such as \"1KiB\"",
        ),
        (
            "admission.max_queued",
            "\"20\"",
            "expected whole number, 1 to 1000000, found string (leave out the quotes)",
        ),
        (
            "admission.max_queued",
            "\"20s\"",
            "expected whole number, 1 to 1000000, found string",
        ),
        (
            "admission.shadow",
            "\"true\"",
            "expected true or false, found string (leave out the quotes)",
        ),
    ] {
        let file = match key.strip_prefix("listeners.a.") {
            Some(name) => format!("[listeners.a]\naddress = \"127.0.0.1:1\"\n{name} = {value}"),
            None => format!("{key} = {value}"),
        };
        let error = error(&file);
        let found = error
            .split_once(&format!("`{key}` "))
            .map(|(_, found)| found);
        assert_eq!(found, Some(told), "{key} = {value}");
    }
}

#[test]
fn out_of_range_and_wrong_type() {
    assert_eq!(
        error("drain_timeout = \"2h\""),
        "line 1, column 17: `drain_timeout` out of range: time, 0s to 1h"
    );
    assert_eq!(
        error("[admission]\nmax_queued = \"many\""),
        "line 2, column 14: `admission.max_queued` expected whole number, 1 to 1000000, found string"
    );
    assert_eq!(
        error("[admission]\nalgorithm = \"adaptiv\""),
        "line 2, column 13: `admission.algorithm` `adaptiv` is not known here: one of adaptive, fixed, aimd, vegas, gradient2, bbr (did you mean `adaptive`?)"
    );
    assert_eq!(
        error("admission = 3"),
        "line 1, column 13: `admission` expected table, found integer"
    );
    assert_eq!(
        error("routes = 3"),
        "line 1, column 10: `routes` expected list of tables, found integer"
    );
}

#[test]
fn a_duplicate_route_is_told_with_the_first() {
    let text = "[[routes]]\nname = \"a\"\npath_prefix = \"/x\"\n\n[[routes]]\npath_prefix = \"/x/\"\nhost = \"h\"\n\n[[routes]]\npath_prefix = \"/x/\"";
    assert_eq!(
        error(text),
        "line 9, column 1: `routes[2]` matches the same calls as the route on line 1: take one of them out"
    );
    let methods =
        |a, b| format!("[[routes]]\nmethods = {a}\n[[routes]]\nmethods = {b}\n{UPSTREAM}");
    assert!(Config::parse(&methods("[\"GET\", \"PUT\"]", "[\"PUT\"]")).is_err());
    assert!(Config::parse(&methods("[\"GET\"]", "[\"PUT\"]")).is_ok());
    assert!(
        Config::parse(&methods("[\"GET\"]", "[]")).is_ok(),
        "with methods is the more specific one"
    );
}

#[test]
fn references_lead_somewhere() {
    assert_eq!(
        error("[[routes]]\nupstream = \"defaut\""),
        "line 2, column 12: `routes[0].upstream` there is no upstream `defaut`: did you mean `default`?"
    );
    assert_eq!(
        error("[lanes.search]\n[[routes]]\nlane = \"serch\""),
        "line 3, column 8: `routes[0].lane` there is no lane `serch`: did you mean `search`?"
    );
    assert!(
        Config::parse(&format!("[[routes]]\nlane = \"slow\"\n{UPSTREAM}")).is_ok(),
        "built in"
    );
    let two = "[upstreams.a]\nurl = \"http://a\"\n[upstreams.b]\nurl = \"http://b\"";
    assert_eq!(errors(two).len(), 1);
    assert!(
        errors(two)[0].contains("no route says which calls go where"),
        "{:?}",
        errors(two)
    );
}

#[test]
fn what_is_missing_is_told_with_an_example() {
    let all = errors("[upstreams.a]\n");
    assert_eq!(
        all,
        [
            "line 1, column 12: `upstreams.a.url` is missing: The service to protect; https:// speaks TLS to it, and checks its certificate. For example url = \"http://127.0.0.1:3000\""
        ]
    );
    assert!(errors("")[0].contains("write [upstreams.default]"));
    assert!(
        error("[admission]\nalgorithm = \"fixed\"").contains("`fixed` needs to be told its limit")
    );
}

#[test]
fn bad_values_of_each_form() {
    for (text, part) in [
        ("[admin]\naddress = \"0.0.0.0:9090\"", "set admin.token"),
        (
            "[admin]\naddress = \"localhost:9090\"",
            "expected IP address and port, found `localhost",
        ),
        ("[admin]\ntoken = \"short\"", "at least 16 bytes"),
        (
            "[listeners.\"a b\"]\naddress = \"127.0.0.1:1\"",
            "is no name",
        ),
        (
            "[listeners.a]\naddress = \"127.0.0.1:1\"\n[listeners.b]\naddress = \"127.0.0.1:1\"",
            "is taken by `listeners.a.address`",
        ),
        (
            "[listeners.a]\naddress = \"127.0.0.1:1\"\ntrusted_proxies = [\"10.1.0.0/8\"]",
            "did you mean \"10.0.0.0/8\"?",
        ),
        ("[upstreams.b]\nurl = \"ftp://b\"", "not ftp://"),
        (
            "[upstreams.b]\nurl = \"127.0.0.1:3000\"",
            "write \"http://127.0.0.1:3000\"",
        ),
        ("[upstreams.b]\nurl = \"http://b/path\"", "leave it out"),
        ("[[routes]]\npath = \"x\"", "path beginning with `/`"),
        (
            "[[routes]]\npath = \"/x\"\npath_prefix = \"/y\"",
            "a route has one of them",
        ),
        ("[[routes]]\nmethods = [\"get\"]", "written in capitals"),
        (
            "[admission]\nmin_limit = 50\nmax_limit = 5",
            "above max_limit",
        ),
        (
            "[[under_way.keys]]\nid = \"k\"\nsecret = \"short\"",
            "at least 32 bytes",
        ),
        (
            "[[under_way.keys]]\nid = \"seventeen-letters\"\nsecret = \"0123456789abcdef0123456789abcdef\"",
            "1 to 16 letters",
        ),
    ] {
        let all = errors(&format!("{text}\n{UPSTREAM}"));
        assert!(all.iter().any(|e| e.contains(part)), "{text}: {all:?}");
    }
}

#[test]
fn all_errors_at_once_in_the_order_of_the_file() {
    let text = "drain_timeout = 1\n[admission]\nshadow = 1\nwhat = 2\n[listeners.a]\n[upstreams.default]\nurl = 7\n";
    let lines: Vec<_> = Config::parse(text)
        .unwrap_err()
        .0
        .iter()
        .map(|e| e.position.line)
        .collect();
    assert_eq!(lines, [1, 3, 4, 5, 7]);
}

#[test]
fn not_toml_at_all() {
    for text in [
        "[admission",
        "a = ",
        "a = 1\na = 2",
        "\u{0}",
        "= 3",
        "[a]\n[a]",
        "[[routes]]\n[routes]",
    ] {
        let all = Config::parse(text).unwrap_err();
        assert!(all.0[0].position.line >= 1, "{all}");
    }
    let deep = format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(Config::parse(&deep).is_err());
}

#[test]
fn settings_that_fight_are_warned_of() {
    let quiet = "[[under_way.keys]]\nid = \"k\"\nsecret = \"0123456789abcdef0123456789abcdef\"\n";
    let warnings = |text: &str| {
        Config::parse(&format!("{quiet}{text}\n{UPSTREAM}"))
            .unwrap()
            .warnings()
    };
    assert_eq!(warnings(""), []);
    for (text, key) in [
        (
            "[admission]\nmax_wait = \"300ms\"\n[context]\ntimeout = \"250ms\"",
            "admission.max_wait",
        ),
        (
            "[admission]\nmax_wait = \"300ms\"\n[[routes]]\ntimeout = \"250ms\"",
            "routes[0].timeout",
        ),
        (
            "[admission]\nmax_wait = \"40s\"",
            "upstreams.default.response_timeout",
        ),
        (
            "[listeners.a]\naddress = \"0.0.0.0:1\"\ntrust = \"internal\"",
            "listeners.a.trust",
        ),
        ("[admission]\nshadow = true", "admission.shadow"),
        ("[[routes]]\nshadow = true", "routes"),
        ("[lanes.lost]", "lanes.lost"),
        ("[cache]\nsize = \"1MiB\"", "cache.size"),
        (
            "[[routes]]\nmethods = [\"POST\"]\ncache = {}",
            "routes[0].cache",
        ),
        (
            "[[routes]]\ncache = { max_size = \"65MiB\" }",
            "routes[0].cache.max_size",
        ),
        (
            "[[routes]]\ncache.key_headers = [\"a\", \"b\", \"c\", \"d\", \"e\", \"f\", \"g\", \"h\", \"i\"]",
            "routes[0].cache.key_headers",
        ),
        ("[access_log]\nsample = 0.5", "access_log.sample"),
        (
            "[access_log]\nmode = \"all\"\nsample = 0.5",
            "access_log.sample",
        ),
    ] {
        let found = warnings(text);
        assert_eq!(
            found.iter().map(|w| w.key.as_str()).collect::<Vec<_>>(),
            [key],
            "{text}: {found:?}"
        );
    }
    assert_eq!(defaults().warnings(), []);
    let text = "[admission]\nshadow = true\n";
    assert_eq!(Config::position(text, "admission.shadow").line, 2);
}

#[test]
fn secrets_are_not_shown() {
    let text = format!(
        "[admin]\ntoken = \"a-very-long-secret\"\n[[under_way.keys]]\nid = \"k\"\nsecret = \"0123456789abcdef0123456789abcdef\"\n{UPSTREAM}"
    );
    let shown = format!("{:?}", Config::parse(&text).unwrap());
    assert!(
        !shown.contains("a-very-long-secret") && !shown.contains("0123456789abcdef"),
        "{shown}"
    );
}

#[test]
fn a_whole_file() {
    let text = r#"
drain_timeout = "1m"
[listeners.public]
address = "0.0.0.0:8080"
trusted_proxies = ["10.0.0.0/8", "::1"]
[listeners.inside]
address = "127.0.0.1:8081"
trust = "internal"
[upstreams.shop]
url = "http://shop.internal:3000"
protocol = "h2"
[upstreams.search]
url = "http://search.internal"
[[routes]]
path_prefix = "/search"
methods = ["GET"]
upstream = "search"
lane = "search"
criticality = "sheddable-plus"
timeout = "1.5s"
[[routes]]
upstream = "shop"
[lanes.search]
share = 0.25
[admission]
algorithm = "vegas"
max_wait = "50ms"
"#;
    let config = Config::parse(text).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(config.listeners.len(), 2);
    assert_eq!(config.admission.algorithm, Algorithm::Vegas);
    assert_eq!(config.routes[0].timeout, Some(Duration::from_millis(1500)));
    assert_eq!(config.admission.max_wait, Some(Duration::from_millis(50)));
    assert!(config.default_upstream().is_none());
}

#[test]
fn every_wrong_entry_of_a_list_is_told_of_where_it_stands() {
    let text = format!(
        "{UPSTREAM}endpoints = [\n  \"127.0.0.1\",\n  \"127.0.0.1:1\",\n  \"127.0.0.1:2 weight=0\",\n  3,\n]"
    );
    let all = Config::parse(&text).unwrap_err();
    let first = UPSTREAM.lines().count() + 2;
    let told: Vec<_> = all.0.iter().map(|e| e.position.line - first).collect();
    assert_eq!(told, [0, 2, 3], "{all}");
    assert!(
        all.to_string().contains("in `127.0.0.1:2 weight=0`"),
        "{all}"
    );
}

#[test]
fn what_others_write_is_answered_with_what_is_written_here() {
    for (text, part) in [
        (
            "[listeners.a]\naddress = \":8081\"",
            "write \"0.0.0.0:8081\"",
        ),
        ("[listeners.a]\naddress = \"80\"", "write \"0.0.0.0:80\""),
        (
            "[listeners.a]\naddress = \"localhost:8081\"",
            "write \"127.0.0.1:8081\"",
        ),
        ("[[routes]]\nhost = \"*.a.b\"", "a route for each"),
        ("[[routes]]\npath = \"/a/*\"", "path_prefix"),
        ("[[routes]]\nmethods = \"GET\"", "in brackets"),
        ("[[routes]]\npath = \"*.html\"", "path_prefix"),
    ] {
        let all = Config::parse(&format!("{text}\n{UPSTREAM}")).unwrap_err();
        assert!(all.to_string().contains(part), "{text}: {all}");
    }
    // A name that belongs to several other sections says nothing of what is meant.
    let text = format!("[access_log]\npath = \"/var/log/a\"\n{UPSTREAM}");
    let all = Config::parse(&text).unwrap_err();
    assert!(!all.to_string().contains("did you mean"), "{all}");
}
