//! Every wrong input is told where it stands, with what to write.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::*;
use crate::app::settings::DOCS;
use crate::config::Time;

#[derive(Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
struct Own {
    data: Data,
    names: Vec<String>,
    ratio: f64,
    mode: Mode,
    table: BTreeMap<String, u16>,
}

#[derive(Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
struct Data {
    url: Option<Secret>,
    pause: Option<Time<1, 1_000>>,
    pool: u16,
    verbose: bool,
}

#[derive(Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Plain,
    Fancy,
}

fn with(file: &str, environment: &[(&str, &str)], flags: &[&str]) -> Result<Loaded<Own>, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(&path, file).unwrap();
    let sources = Sources {
        file: Some(path),
        environment: environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        prefix: prefix("shop-order"),
        flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
    };
    sources.load().map_err(|faults| {
        let dir = format!("{}/", dir.path().display());
        faults.to_string().replace(&dir, "")
    })
}

#[test]
fn what_is_wrong_in_a_file() {
    for (file, told) in [
        ("a = ", "c.toml, line 1, column"),
        (
            "[http]\nadress = 'x'",
            "c.toml, line 2, column 1: `http.adress` unknown setting: did you mean `address`?",
        ),
        (
            "[htpp]",
            "c.toml, line 1, column 2: `htpp` unknown section: did you mean `http`?",
        ),
        ("[dta]", "`dta` unknown section: did you mean `data`?"),
        ("[wholly_other]", "unknown section: there are http, grpc"),
        (
            "[data]\npol = 1",
            "line 2, column 1: `data.pol` unknown setting: did you mean `pool`?",
        ),
        (
            "[data]\nwholly_other = 1",
            "`data.wholly_other` unknown setting: there are url, pause, pool, verbose",
        ),
        (
            "[drain]\ntimeout = 30",
            "line 2, column 11: `drain.timeout` a bare number has no unit: write \"30ms\"",
        ),
        ("[drain]\ntimeout = '30sec'", "did you mean \"30s\"?"),
        (
            "[drain]\ntimeout = '2h'",
            "`drain.timeout` out of range: time, 0s to 1h",
        ),
        (
            "[data]\npause = '0ms'",
            "`data.pause` out of range: time, 1ms to 1s",
        ),
        (
            "[data]\npause = '1MiB'",
            "is a size, and a time belongs here",
        ),
        (
            "[http]\naddress = ':80'",
            "`http.address` invalid socket address",
        ),
        ("[http]\naddress = 80", "`http.address`"),
        (
            "[http]\nmax_connections = 0",
            "out of range: whole number, 1 to 1000000",
        ),
        (
            "[http]\nmax_connections = 99999999999999999999",
            "`http.max_connections`",
        ),
        (
            "[http]\nmax_header_bytes = '1KiB'",
            "out of range: size, 8KiB to 1MiB",
        ),
        (
            "http = 1",
            "line 1, column 8: `http` expected a table, found a whole number",
        ),
        (
            "[data]\npool = '5'",
            "`data.pool` expected u16, found text (leave out the quotes?)",
        ),
        (
            "[data]\npool = -1",
            "`data.pool` invalid value: integer `-1`",
        ),
        (
            "[data]\nverbose = 'true'",
            "expected a boolean, found text (leave out the quotes?)",
        ),
        (
            "names = 'a'",
            "`names` expected a list, found text (put it in brackets",
        ),
        ("names = ['a', 5]", "line 1, column 15: `names[1]`"),
        (
            "mode = 'fansy'",
            "`mode` `fansy` is not known here: one of plain, fancy (did you mean `fancy`?)",
        ),
        ("[table]\na = 70000", "line 2, column 5: `table.a`"),
        ("[log]\nlevel = 'inf'", "\"inf\" is no level: write error"),
        (
            "[log]\nlevel = 'info,shop=loud'",
            "\"shop=loud\" is no level",
        ),
        (
            "[data]\nurl = 'env:SEAWALL_NOT_SET'",
            "the environment variable `SEAWALL_NOT_SET` is not set",
        ),
        (
            "[data]\nurl = 'file:/no/such'",
            "cannot read the secret from `/no/such`",
        ),
        ("[data]\nurl = ''", "the secret is empty"),
        (
            "[admin]\naddress = '0.0.0.0:1'",
            "line 2, column 11: `admin.address` 0.0.0.0:1 can be reached by others",
        ),
        (
            "[methods.\"a.B/C\"]\ntimout = '1s'",
            "line 2, column 1: `methods.\"a.B/C\".timout` unknown setting: did you mean `timeout`?",
        ),
        (
            "[methods.\"a.B/C\"]\ntimeout = '0s'",
            "line 2, column 11: `methods.\"a.B/C\".timeout` a call needs some time",
        ),
        (
            "[methods.\"a.B/C\"]\ntimeout = 3",
            "line 2, column 11: `methods.\"a.B/C\".timeout`",
        ),
        (
            "[admission]\nmax_queued = 0",
            "line 2, column 14: `admission.max_queued` 0 is out of range",
        ),
        (
            "[log]\naccess = 1.5",
            "line 2, column 10: `log.access` 1.5 is no share",
        ),
        (
            "[http]\ntrust = 'all'",
            "`all` is not known here: one of edge, internal",
        ),
        ("upstreams = 1", "`upstreams` expected tables"),
        (
            "[upstreams.a]\nurl = 'http://a'\n[upstreams.a.retry]\nattemps = 2",
            "line 4, column 11: `upstreams.a.retry.attemps` unknown setting: did you mean `attempts`?",
        ),
        ("[upstreams.a]", "`upstreams.a.url` is missing"),
    ] {
        let error = with(file, &[], &[]).unwrap_err();
        assert!(error.contains(told), "{file}\n  {error}\n  {told}");
    }
}

#[test]
fn what_is_wrong_in_variables_and_flags() {
    for (name, value, told) in [
        (
            "SHOP_ORDER__HTTP__ADRESS",
            "x",
            "environment variable SHOP_ORDER__HTTP__ADRESS: `http.adress` unknown setting: did you mean `address`?",
        ),
        (
            "SHOP_ORDER__DATA__POOL",
            "many",
            "environment variable SHOP_ORDER__DATA__POOL: `data.pool` `many` is not what belongs here: u16",
        ),
        (
            "SHOP_ORDER__DRAIN__TIMEOUT",
            "30",
            "no unit: write \"30ms\"",
        ),
        ("SHOP_ORDER__HTTP__", "x", "write SHOP_ORDER__SECTION__NAME"),
        ("SHOP_ORDER__MODE__X", "x", "`mode`"),
    ] {
        let error = with("", &[(name, value)], &[]).unwrap_err();
        assert!(error.contains(told), "{name}\n  {error}\n  {told}");
    }
    for (flag, told) in [
        ("http", "write --set SECTION.NAME=VALUE"),
        (".=1", "write --set SECTION.NAME=VALUE"),
        (
            "http.adress=x",
            "--set http.adress: `http.adress` unknown setting: did you mean `address`?",
        ),
        (
            "data.verbose=maybe",
            "`maybe` is not what belongs here: a boolean",
        ),
    ] {
        let error = with("", &[], &[flag]).unwrap_err();
        assert!(error.contains(told), "{flag}\n  {error}\n  {told}");
    }
    let error = with("ratio = 1.0", &[], &["ratio.x=1"]).unwrap_err();
    assert!(
        error.contains("`ratio` is a setting, and nothing can stand below it"),
        "{error}"
    );
}

#[test]
fn everything_wrong_is_told_at_once() {
    let file = "[htpp]\n[drain]\ntimeout = 1\n[log]\nlevel = 'x'\n[data]\npol = 1\npool = 'x'";
    let error = with(file, &[("SHOP_ORDER__GRPC__X", "1")], &["admin.y=2"]).unwrap_err();
    assert_eq!(error.lines().count(), 7, "{error}");
    // A type that refuses keys by itself does not say so a second time.
    let error = with("[admission]\nx = 1", &[], &[]).unwrap_err();
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn the_later_stands_over_the_earlier() {
    let file = "names = ['a']\n[data]\npool = 1\n[http]\naddress = '127.0.0.1:1'";
    let environment = [
        ("SHOP_ORDER__DATA__POOL", "2"),
        ("SHOP_ORDER__NAMES", "b, c"),
        ("SHOP_ORDER__HTTP__ADDRESS", "127.0.0.1:2"),
        ("OTHER__DATA__POOL", "9"),
        ("SHOP_ORDER_DATA_POOL", "9"),
    ];
    let flags = [
        "http.address=127.0.0.1:3",
        "table.\"a.b\"=7",
        "data.verbose=true",
        "mode=fancy",
    ];
    let loaded = with(file, &environment, &flags).unwrap();
    assert_eq!(loaded.own.data.pool, 2);
    assert_eq!(loaded.own.names, ["b", "c"]);
    assert_eq!(loaded.settings.http.address.port(), 3);
    assert_eq!(loaded.own.table["a.b"], 7);
    assert!(loaded.own.data.verbose);
    assert_eq!(loaded.own.mode, Mode::Fancy);
    let loaded = with("", &[], &["names=['x,y']"]).unwrap();
    assert_eq!(loaded.own.names, ["x,y"]);
}

#[test]
fn secrets() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    std::fs::write(&file, "hunter2\n").unwrap();
    let from_file = format!("data.url=file:{}", file.display());
    let loaded = with("", &[], &[&from_file]).unwrap();
    assert_eq!(loaded.own.data.url.unwrap().expose(), "hunter2");
    assert!(loaded.warnings.is_empty());

    let loaded = with("[data]\nurl = 'hunter2'", &[], &[]).unwrap();
    assert!(
        loaded.warnings[0].contains("line 2, column 7: `data.url` is a secret in plain text"),
        "{:?}",
        loaded.warnings
    );
    assert!(!format!("{loaded:?}").contains("hunter2"));
    // A variable is a good place for one.
    let loaded = with("", &[("SHOP_ORDER__DATA__URL", "hunter2")], &[]).unwrap();
    assert!(loaded.warnings.is_empty());
}

#[test]
fn no_message_tells_a_secret() {
    let loaded = with("", &[], &["data.url=hunter2"]).unwrap();
    assert!(
        loaded.warnings[0].contains("--set data.url"),
        "{:?}",
        loaded.warnings
    );
    let told = format!("{:?}", loaded.warnings);
    assert!(!told.contains("hunter2"), "{told}");
    for (file, flags) in [
        ("[data]\nurl = 8675309", &[][..]),
        ("[data]\nurl = 8675309.5", &[]),
        ("[data]\nurl = [\"8675309\"]", &[]),
        ("[data]\nurl = { a = \"8675309\" }", &[]),
        ("", &["admin.tokn=8675309"]),
    ] {
        let error = with(file, &[], flags).unwrap_err();
        assert!(!error.contains("8675309"), "{error}");
    }
}

#[test]
fn a_name_without_end_is_refused() {
    let deep = "A__".repeat(20_000);
    let name = format!("SHOP_ORDER__{deep}A");
    let error = with("", &[(&name, "1")], &[]).unwrap_err();
    assert!(
        error.contains("nothing can stand below it"),
        "{}",
        error.len()
    );
    let flag = format!("{}a=1", "a.".repeat(20_000));
    with("", &[], &[&flag]).unwrap_err();
    for file in [
        format!("{}a=1", "a.".repeat(100_000)),
        format!("a={}", "[".repeat(500_000)),
    ] {
        with(&file, &[], &[]).unwrap_err();
    }
    let error = with(&format!("a = \"{}\"", "x".repeat(2 << 20)), &[], &[]).unwrap_err();
    assert!(error.contains("1 MiB"), "{error}");
}

#[test]
fn a_section_of_ours_cannot_be_a_field() {
    #[derive(Debug, Default, Deserialize, Serialize)]
    #[serde(default)]
    struct Clash {
        http: u8,
    }
    let error = load::<Clash>(Table::new()).unwrap_err().to_string();
    assert!(
        error.contains("`http` is a section of every program"),
        "{error}"
    );
}

#[test]
fn without_an_own_configuration_every_other_section_is_unknown() {
    load::<()>(Table::new()).unwrap();
    let name: std::sync::Arc<str> = "f".into();
    let error = load::<()>(tree::parse("[data]", &name).unwrap()).unwrap_err();
    assert!(
        error.to_string().contains("`data` unknown section"),
        "{error}"
    );
}

#[test]
fn what_is_printed_is_read_and_says_the_same() {
    let loaded = with(
        "",
        &[],
        &[
            "upstreams.\"b\".url=http://b",
            "table.\"a b\"=7",
            "data.pause=5ms",
        ],
    )
    .unwrap();
    let all = crate::app::assemble::whole(&loaded.settings, &loaded.own);
    let text = toml(all.as_object().unwrap(), DOCS);
    let again = with(&text, &[], &[]).unwrap();
    assert_eq!(again.own, loaded.own, "{text}");
    assert_eq!(again.settings, loaded.settings, "{text}");
    assert_eq!(
        again.own.data.pause.unwrap().get(),
        Duration::from_millis(5)
    );
}

#[test]
fn every_setting_is_described_once() {
    let all = serde_json::to_value(Settings::default()).unwrap();
    let mut keys = Vec::new();
    for (section, fields) in all.as_object().unwrap() {
        for field in fields.as_object().unwrap().keys() {
            keys.push(format!("{section}.{field}"));
        }
    }
    let mut described: Vec<_> = DOCS.iter().map(|(key, _)| (*key).to_owned()).collect();
    keys.sort();
    described.sort();
    assert_eq!(keys, described);
}

#[test]
fn sections_are_those_of_the_settings() {
    let all = serde_json::to_value(Settings::default()).unwrap();
    let mut sections = SECTIONS.to_vec();
    // Left out, it is not shown.
    sections.retain(|section| *section != "auth");
    sections.sort_unstable();
    let fields: Vec<_> = all.as_object().unwrap().keys().collect();
    assert_eq!(fields, sections);
}

#[test]
fn a_variable_with_one_underscore_is_told_of() {
    let sources = Sources {
        environment: [("ORDER_HTTP_ADDRESS", "x"), ("ORDER_HOME", "x")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        prefix: prefix("order"),
        ..Sources::default()
    };
    let told = sources.nearly_ours();
    assert_eq!(told.len(), 1);
    assert!(
        told[0].contains("ORDER_HTTP_ADDRESS is ignored"),
        "{told:?}"
    );
}

/// What needs no methods to be judged by: `--check` runs no service.
#[test]
fn names_of_methods_and_lanes_are_judged_where_they_stand() {
    let text = r#"
[lanes.reports]
share = 0.3
[methods."shop.v1.Reports/*"]
lane = "report"
[methods."shop.v1.Orders/Place"]
lane = "reports"
[methods."shop.v1.Orders.Place"]
timeout = "2s"
[methods."*"]
lane = "bulk"
"#;
    let wrong = with(text, &[], &[]).unwrap_err().to_string();
    let lines: Vec<_> = wrong.lines().collect();
    assert_eq!(lines.len(), 2, "{wrong}");
    assert!(
        lines[0].contains("line 8") && lines[0].contains("write \"package.Service/Method\""),
        "{wrong}"
    );
    assert!(
        lines[1].contains("line 5") && lines[1].contains("did you mean `reports`?"),
        "{wrong}"
    );
}

#[test]
fn spans_are_sent_or_refused() {
    let wrong = with("[trace]\nendpoint = \"collector:4317\"\n", &[], &[]).unwrap_err();
    let wrong = wrong.to_string();
    let says = if cfg!(feature = "otel") {
        "write \"http://HOST:4317\""
    } else {
        "built without the feature `otel`"
    };
    assert!(wrong.contains("line 2") && wrong.contains(says), "{wrong}");
    let right = with("[trace]\nendpoint = \"http://collector:4317\"\n", &[], &[]);
    assert_eq!(right.is_ok(), cfg!(feature = "otel"));
}
