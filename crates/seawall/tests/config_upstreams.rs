//! What `seawall check` says of an upstream's settings that do not go together.

use seawall::config::Config;

const URL: &str = "url = \"http://127.0.0.1:3000\"\n";
const TWO: &str = "endpoints = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\n";

fn file(lines: &str) -> String {
    let keys = "[[under_way.keys]]\nid = \"k\"\nsecret = \"0123456789abcdef0123456789abcdef\"\n";
    format!("[upstreams.a]\n{URL}{lines}\n{keys}")
}

/// Line, setting and text of each warning.
fn warnings(text: &str) -> Vec<(usize, String, String)> {
    let config = Config::parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let told = config.warnings().into_iter().map(|warning| {
        let line = Config::position(text, &warning.key).line;
        (line, warning.key, warning.text)
    });
    told.collect()
}

/// The one warning, which is of the line before the last and says this.
fn assert_warns(lines: &str, key: &str, part: &str) {
    let text = file(lines);
    let found = warnings(&text);
    let [(line, told, why)] = &found[..] else {
        panic!("{lines}: {found:?}");
    };
    assert_eq!(told, key, "{lines}");
    assert_eq!(*line, 2 + lines.trim_end().lines().count(), "{lines}");
    assert!(why.contains(part), "{lines}: {why}");
}

#[test]
fn what_goes_together_is_not_warned_of() {
    for lines in [
        "",
        TWO,
        "balance.slow_start = '1s'",
        "retry.attempts = 1",
        "retry.per_try_timeout = '10s'",
        "retry.ratio = 0.5",
        "retry.attempts = 1\nretry.ratio = 0.1",
        "health.path = '/up'\nhealth.timeout = '500ms'\nhealth.interval = '1s'",
        "replicas.endpoints = ['127.0.0.1:5']\nreplicas.read_your_writes = '5s'",
        "gutter.endpoints = ['127.0.0.1:5']\ngutter.limit = 5",
        "fallback.body = '[]'\nfallback.status = 203",
        "fallback.body = ''\nfallback.status = 204",
        "endpoints = ['name:80']\nbalance.algorithm = 'round-robin'",
        "endpoints = ['srv://_http._tcp.a']\nbalance.zone = 'a'",
        "endpoints = ['127.0.0.1:1 zone=a', '127.0.0.1:2 zone=b']\nbalance.zone = 'a'",
        "endpoints = ['127.0.0.1:1', '127.0.0.1:2']\nbalance.algorithm = 'consistent-hash'\nbalance.hash_on = 'path'",
        "breaker.kind = 'window'\nbreaker.shadow = true",
        "breaker.per = 'route'",
        "breaker.per = 'tenant'\n[listeners.a]\naddress = '127.0.0.1:1'\ntrust = 'internal'",
        "endpoints = ['name:80']\nbalance.subset = 20",
        // The same host as main and as replica: reads and writes keep apart limits only.
        "endpoints = ['127.0.0.1:1']\nreplicas.endpoints = ['127.0.0.1:1', '127.0.0.1:2']",
    ] {
        assert_eq!(warnings(&file(lines)), [], "{lines}");
    }
}

#[test]
fn hosts_that_say_one_another_nothing() {
    assert_warns(
        "endpoints = ['b:1', 'B:1 weight=2']",
        "upstreams.a.endpoints",
        "b:1 twice",
    );
    assert_warns(
        "gutter.endpoints = ['[::1]:1', '[::1]:1']",
        "upstreams.a.gutter.endpoints",
        "[::1]:1 twice",
    );
    assert_warns(
        &format!("{TWO}gutter.endpoints = ['127.0.0.1:2']"),
        "upstreams.a.gutter.endpoints",
        "fails together",
    );
    assert_warns(
        "balance.algorithm = 'prequal'",
        "upstreams.a.balance.algorithm",
        "one host only",
    );
    assert_warns(
        "endpoints = ['127.0.0.1:1']\nbalance.zone = 'a'",
        "upstreams.a.balance.zone",
        "one host only",
    );
    assert_warns(
        "ejection.max_share = 1.0",
        "upstreams.a.ejection",
        "never ejected",
    );
    assert_warns(
        &format!("{TWO}ejection.max_share = 1.0"),
        "upstreams.a.ejection.max_share",
        "all but one",
    );
    assert_warns(
        &format!("{TWO}balance.hash_on = 'path'"),
        "upstreams.a.balance.hash_on",
        "consistent-hash",
    );
    assert_warns(
        "endpoints = ['127.0.0.1:1 zone=b', '127.0.0.1:2']\nbalance.zone = 'a'",
        "upstreams.a.balance.zone",
        "write zone=a",
    );
    for (size, part) in [(1, "no other to go to"), (2, "all are used")] {
        assert_warns(
            &format!("{TWO}balance.subset = {size}"),
            "upstreams.a.balance.subset",
            part,
        );
    }
    assert_warns(
        "endpoints = ['127.0.0.1:1 zone=b', '127.0.0.1:2']",
        "upstreams.a.endpoints",
        "write balance.zone",
    );
}

#[test]
fn times_that_do_not_fit() {
    let key = "upstreams.a.retry.per_try_timeout";
    for (lines, part) in [
        ("retry.per_try_timeout = '30s'", "has no effect"),
        (
            "retry.attempts = 1\nretry.per_try_timeout = '1s'",
            "by another name",
        ),
        (
            "response_timeout = '1s'\nretry.per_try_timeout = '400ms'",
            "3 attempts of 400ms do not fit into response_timeout (1s)",
        ),
    ] {
        assert_warns(lines, key, part);
    }
    assert_warns("retry.ratio = 1.0", "upstreams.a.retry.ratio", "2.0 times");
    let route = |upstream: &str, route: &str| {
        let found = warnings(&file(&format!("{upstream}\n[[routes]]\n{route}")));
        found.into_iter().map(|w| w.1).collect::<Vec<_>>()
    };
    let per_try = "retry.per_try_timeout = '400ms'";
    assert_eq!(route(per_try, "timeout = '1s'"), ["routes[0].timeout"]);
    assert!(route(per_try, "timeout = '1200ms'").is_empty());
    let once = "retry.attempts = 1";
    assert_eq!(
        route(once, "retry_safe = true\nupstream = 'a'"),
        ["routes[0].retry_safe"]
    );
    assert!(route("", "retry_safe = true").is_empty());
}

#[test]
fn settings_of_what_is_not_there() {
    for (lines, key, part) in [
        (
            "replicas.read_your_writes = '5s'",
            "replicas.read_your_writes",
            "replicas.endpoints",
        ),
        ("gutter.limit = 5", "gutter.limit", "gutter.endpoints"),
        (
            "breaker.kind = 'off'\nbreaker.shadow = true",
            "breaker.shadow",
            "\"off\"",
        ),
        (
            "breaker.kind = 'off'\nbreaker.per = 'route'",
            "breaker.per",
            "\"off\"",
        ),
        (
            "breaker.per = 'tenant'",
            "breaker.per",
            "no tenant is believed",
        ),
        (
            "[upstreams.a.health]\ninterval = '1s'",
            "health",
            "health.path",
        ),
        (
            "[upstreams.a.fallback]\nstatus = 203",
            "fallback",
            "fallback.body",
        ),
    ] {
        let text = file(lines);
        let found = warnings(&text);
        assert_eq!(found.len(), 1, "{lines}: {found:?}");
        assert_eq!(found[0].1, format!("upstreams.a.{key}"), "{lines}");
        assert!(found[0].2.contains(part), "{lines}: {found:?}");
    }
    assert_warns(
        "protocol = 'h2'\nhealth.path = '/'",
        "upstreams.a.health.path",
        "over HTTP/1.1",
    );
    assert_warns(
        "health.path = '/'\nhealth.timeout = '5s'",
        "upstreams.a.health.timeout",
        "not shorter than health.interval (5s)",
    );
    assert_warns(
        "fallback.body = '[]'\nfallback.always = true",
        "upstreams.a.fallback.always",
        "asked nothing",
    );
    assert_warns(
        "fallback.body = '[]'\nfallback.status = 204",
        "upstreams.a.fallback.status",
        "204 has no body",
    );
}

#[test]
fn what_cannot_work_is_refused() {
    let listener = "[listeners.a]\naddress = \"127.0.0.1:8080\"\n";
    for (lines, told) in [
        (
            "fallback.always = true".to_owned(),
            "line 3, column 19: `upstreams.a.fallback.always` has nothing to answer with: write fallback.body, \"\" for an empty one",
        ),
        (
            "fallback.body = ''\nfallback.content_type = \"a\\nb\"".to_owned(),
            "line 4, column 25: `upstreams.a.fallback.content_type` contains characters that no header can carry: write \"application/json\", say",
        ),
        (
            format!("endpoints = ['localhost:8080']\n{listener}"),
            "line 3, column 13: `upstreams.a.endpoints` leads back to the gateway itself: `listeners.a.address` is 127.0.0.1:8080. Name the service's own address",
        ),
        (
            format!("gutter.endpoints = ['127.0.0.1:9090']\n{listener}"),
            "line 3, column 20: `upstreams.a.gutter.endpoints` leads back to the gateway itself: `admin.address` is 127.0.0.1:9090. Name the service's own address",
        ),
    ] {
        let errors = Config::parse(&file(&lines)).unwrap_err();
        assert_eq!(errors.to_string(), told, "{lines}");
    }
    // With endpoints, the URL is a name and nowhere to go.
    let named = "endpoints = ['127.0.0.1:1']\n[upstreams.b]\nurl = 'http://localhost:8080'\nendpoints = ['127.0.0.1:1']\n[[routes]]\nupstream = 'a'\n";
    Config::parse(&file(&format!("{named}{listener}"))).unwrap();
}

#[test]
fn files_of_endpoints_are_looked_at_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hosts");
    let lines = format!("endpoints = ['b:1', 'file://{}']", path.display());
    let config = Config::parse(&file(&lines)).unwrap();
    let bad = || config.bad_endpoint_files();
    assert_eq!(bad()[0].0, "upstreams.a.endpoints");
    assert!(bad()[0].1.contains("cannot be read"), "{:?}", bad());
    std::fs::write(&path, "b:80\nno port\n").unwrap();
    assert!(bad()[0].1.contains("line 2"), "{:?}", bad());
    std::fs::write(&path, "b:80\n").unwrap();
    assert_eq!(bad(), []);
}

#[test]
fn what_a_gateway_cannot_heed_is_warned_of() {
    assert_warns(
        "retry.attempts = 1\nretry.ratio = 0.5",
        "upstreams.a.retry.ratio",
        "retry.attempts is 1",
    );
    assert_warns(
        "endpoints = ['127.0.0.1:1 host=a.b']",
        "upstreams.a.endpoints",
        "the Host of the call",
    );
}
