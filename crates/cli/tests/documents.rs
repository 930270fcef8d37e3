//! Documents that must not differ from the code.
//!
//! docs/configuration.md is made from the settings: `SEAWALL_WRITE_DOCS=1 cargo test -p seawall-cli
//! --test documents` writes it anew. The others are written by hand; what they list is compared.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use seawall::config::{Config, SETTINGS, Setting};
use seawall_gateway::Gateway;
use seawall_testkit::free_port;

const HEAD: &str = "\
# Configuration

Nothing has to be configured: `seawall gateway --upstream http://HOST:PORT` runs with every default below.
A file is TOML, passed as `--config FILE`; `--admin` and `--shadow` stand over what it says, `--upstream` and `--listen` over its entry named `default`, or the only one.
The file is watched: a change is in force within about a second, without a restart. SIGHUP has it read at once. What keeps its name keeps what it has learned and counted, and no connection is dropped for it; listeners may come, go and change. A file with an error is refused whole and told of, and what was in force stays so. Only a restart changes `admin.address` and `discovery.resolvers`. `seawall_config_reloads_total` counts both, `/explain` says since when the one in force is so.
`seawall check FILE` tells by line what is wrong with it (unknown settings and wrong values first, all at once; then what the settings say of one another) and warns of settings that work against one another or have no effect; it also looks at the files that `endpoints` and `tls` name. `seawall check --defaults` prints a file with every default; `seawall check --schema` a JSON schema for editors.

In the names below, `*` is a name of your choosing and `[]` an entry of a list.
Times are written with a unit (`us`, `ms`, `s`, `m`, `h`) as in `\"250ms\"`, sizes as in `\"64KiB\"` (`B`, `KiB`, `MiB`, `GiB`).

```toml
[upstreams.default]
url = \"http://127.0.0.1:3000\"

[listeners.public]
address = \"0.0.0.0:8080\"

[listeners.services]              # other services of ours: believed what they say of themselves
address = \"10.0.0.5:8081\"
trust = \"internal\"

# The most specific route takes a call, whatever the order: a host before none, an exact path before
# a prefix, the longer prefix before the shorter, methods before none.
[[routes]]
path_prefix = \"/search\"
criticality = \"sheddable\"
timeout = \"500ms\"

[[routes]]
path_prefix = \"/reports\"
lane = \"reports\"

[lanes.reports]
share = 0.2
```

How an upstream with several hosts works, and what happens when it fails: [upstreams.md](upstreams.md).

This page is made from the settings' own table by `SEAWALL_WRITE_DOCS=1 cargo test -p seawall-cli --test documents`.
";

fn document(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(document(name)).expect("the document")
}

fn section(setting: &Setting) -> &str {
    setting.key.split(['.', '[']).next().unwrap_or_default()
}

fn described(setting: &Setting, page: &mut String) {
    let default = match (setting.default, setting.required) {
        (Some(default), _) => format!("default `{default}`: {}", setting.reason),
        (None, true) => format!("required: {}", setting.reason),
        (None, false) => format!("no default: {}", setting.reason),
    };
    let Setting {
        key,
        kind,
        what,
        example,
        ..
    } = setting;
    let example = match setting.default {
        Some(_) => String::new(),
        None => format!(", for example `{example}`"),
    };
    let _ = writeln!(
        page,
        "\n### `{key}`\n\n{what}\n\n- {kind}{example}\n- {default}"
    );
}

fn configuration() -> String {
    let mut page = HEAD.to_owned();
    let mut last = "";
    for setting in SETTINGS {
        let name = section(setting);
        if name != last {
            let title = if setting.key.contains(['.', '[']) {
                name
            } else {
                "top level"
            };
            let _ = writeln!(page, "\n## {title}");
            last = name;
        }
        described(setting, &mut page);
    }
    page
}

#[test]
fn every_setting_is_described() {
    let made = configuration();
    if std::env::var_os("SEAWALL_WRITE_DOCS").is_some() {
        std::fs::write(document("configuration.md"), &made).expect("written");
    }
    assert!(
        read("configuration.md") == made,
        "docs/configuration.md differs from the settings; write it anew with\n\
         SEAWALL_WRITE_DOCS=1 cargo test -p seawall-cli --test documents"
    );
}

#[test]
fn the_example_is_right() {
    let (_, rest) = HEAD.split_once("```toml\n").expect("an example");
    let (example, _) = rest.split_once("```").expect("its end");
    let config = Config::parse(example).expect("no errors");
    assert_eq!(config.routes.len(), 2);
}

#[test]
fn every_example_of_a_file_is_right() {
    for page in ["../README.md", "upstreams.md"] {
        let text = read(page);
        let blocks = text.split("```toml\n").skip(1);
        assert!(blocks.clone().count() > 0, "{page}");
        for block in blocks {
            let (example, _) = block.split_once("```").expect("its end");
            let config = Config::parse(example).expect("no errors");
            assert!(config.warnings().is_empty(), "{example}");
        }
    }
}

/// What the admin listener of a gateway answers whose upstream has these lines.
fn admin(path: &str, lines: &str) -> String {
    let free = || SocketAddr::from(([127, 0, 0, 1], free_port().expect("a port")));
    // Nothing has to listen there: no request is made.
    let text = format!("[upstreams.default]\nurl = 'http://{}'\n{lines}", free());
    let mut config = Config::parse(&text).expect("no errors");
    config.admin.address = free();
    for listener in config.listeners.values_mut() {
        listener.address = free();
    }
    let running = Gateway::start(&config).expect("started");
    let mut stream = TcpStream::connect(running.admin).expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    answer
}

fn metrics() -> String {
    admin("/metrics", "")
}

/// What stands in backticks in the first column of the table with that heading.
fn listed(page: &str, heading: &str) -> BTreeSet<String> {
    let start = format!("| {heading} |");
    let table = page.lines().skip_while(|line| !line.starts_with(&start));
    let rows = table.skip(2).take_while(|line| line.starts_with('|'));
    rows.filter_map(|row| row.split('`').nth(1))
        .map(str::to_owned)
        .collect()
}

/// The values of a metric's label.
fn values(metrics: &str, metric: &str, label: &str) -> BTreeSet<String> {
    let start = format!("{label}=\"");
    let found = metrics
        .lines()
        .filter(|line| line.starts_with(metric))
        .filter_map(|line| line.split_once(&start)?.1.split_once('"'));
    found.map(|(value, _)| value.to_owned()).collect()
}

#[test]
fn every_metric_is_described() {
    let exported: BTreeSet<String> = metrics()
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| match kind {
            "counter" => format!("{name}_total"),
            _ => name.to_owned(),
        })
        // There only where there is a log, and once the CPU was read twice.
        .chain(["seawall_log_dropped_total", "seawall_cpu_used"].map(str::to_owned))
        .collect();
    assert_eq!(listed(&read("admin.md"), "metric"), exported);
}

#[test]
fn every_fault_and_every_reason_is_described() {
    let metrics = metrics();
    for (page, heading, metric, label) in [
        ("admin.md", "fault", "seawall_faults", "fault"),
        ("admin.md", "no retry", "seawall_retries_stopped", "reason"),
        ("rejections.md", "reason", "seawall_rejections", "reason"),
    ] {
        let known = values(&metrics, metric, label);
        assert_eq!(listed(&read(page), heading), known, "{metric}");
    }
}

/// The names of all fields of a JSON value.
fn fields(value: &serde_json::Value, names: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(object) => {
            for (name, value) in object {
                names.insert(name.clone());
                fields(value, names);
            }
        }
        serde_json::Value::Array(list) => list.iter().for_each(|value| fields(value, names)),
        _ => {}
    }
}

#[test]
fn every_field_of_an_explanation_is_described() {
    let answer = admin(
        "/explain",
        "endpoints = ['127.0.0.1:1', '127.0.0.1:2']\ngutter.endpoints = ['127.0.0.1:3']\n",
    );
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let explained = serde_json::from_str(body).expect("JSON");
    let mut names = BTreeSet::new();
    fields(&explained, &mut names);
    let page = read("admin.md");
    let missing: Vec<_> = names
        .iter()
        .filter(|name| !page.contains(&format!("`{name}`")))
        .collect();
    assert!(names.len() > 30, "{answer}");
    assert!(missing.is_empty(), "not described: {missing:?}");
}

/// Every Rust file under a folder, as one text.
fn sources(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|name| name == "rs") {
            text.push_str(&std::fs::read_to_string(path).expect("a source"));
        }
    }
}

/// docs/concurrency.md says which test covers what; names with two underscores or more are tests'.
#[test]
fn every_test_that_is_named_exists() {
    let mut text = String::new();
    sources(&document("../crates"), &mut text);
    let page = read("concurrency.md");
    // Between backticks is every other part.
    let named = page.split('`').skip(1).step_by(2).filter(|word| {
        let of_a_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        word.matches('_').count() >= 2 && word.chars().all(of_a_name)
    });
    let missing: Vec<_> = named
        .clone()
        .filter(|name| !text.contains(&format!("fn {name}(")))
        .collect();
    assert!(named.count() > 10, "the page names its tests in backticks");
    assert!(missing.is_empty(), "no such tests: {missing:?}");
}
