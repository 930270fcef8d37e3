//! What a person meets who configures TLS.

use seawall::config::{ClientAuth, Config, TlsVersion};

const UPSTREAM: &str = "[upstreams.default]\nurl = \"http://127.0.0.1:3000\"\n";

/// The one error of a text that begins with an upstream; its line counts from the text's own first.
fn error(text: &str) -> String {
    let errors = Config::parse(&format!("{text}\n{UPSTREAM}")).expect_err("the text has errors");
    assert_eq!(errors.0.len(), 1, "{errors}");
    errors.to_string()
}

const TLS: &str = "[listeners.a]\naddress = \"127.0.0.1:8443\"\n[listeners.a.tls]\n";
const CERTIFICATE: &str = "[[listeners.a.tls.certificates]]\ncert = \"c.pem\"\nkey = \"k.pem\"\n";

#[test]
fn tls_at_a_listener() {
    let text = format!("{TLS}client_auth = \"required\"\nclient_ca = \"ca.pem\"\n{CERTIFICATE}");
    let config = Config::parse(&format!("{text}{UPSTREAM}")).unwrap_or_else(|e| panic!("{e}"));
    let tls = config.listeners["a"].tls.as_ref().expect("TLS");
    assert_eq!(
        (tls.min_version, tls.client_auth, tls.certificates.len()),
        (TlsVersion::V1_2, ClientAuth::Required, 1)
    );
    assert_eq!(config.warnings(), []);

    assert_eq!(
        error(TLS),
        "line 3, column 14: `listeners.a.tls.certificates` is missing: write [[listeners.a.tls.certificates]] with cert = \"…\" and key = \"…\" below it"
    );
    assert!(
        error(&format!("{TLS}client_auth = \"optional\"\n{CERTIFICATE}"))
            .starts_with("line 3, column 14: `listeners.a.tls.client_ca` is missing: ")
    );
    let half = error(&format!("{TLS}{CERTIFICATE}").replace("key = \"k.pem\"", ""));
    assert!(
        half.contains("`listeners.a.tls.certificates[0].key` is missing"),
        "{half}"
    );
}

#[test]
fn tls_to_an_upstream() {
    let text = |url: &str, lines: &str| {
        Config::parse(&format!(
            "[upstreams.default]\nurl = \"{url}\"\n[upstreams.default.tls]\n{lines}"
        ))
    };
    let config = text("https://shop", "ca = \"ca.pem\"").expect("right");
    let upstream = &config.upstreams["default"];
    assert_eq!((upstream.is_https(), upstream.port()), (true, 443));
    assert_eq!(config.warnings(), []);
    let errors = text("https://shop", "key = \"k.pem\"").expect_err("half of it");
    assert_eq!(
        errors.to_string(),
        "line 3, column 20: `upstreams.default.tls.cert` is missing: cert and key stand together or not at all"
    );
    let unused = text("http://shop", "ca = \"ca.pem\"")
        .expect("right")
        .warnings();
    assert_eq!(unused[0].key, "upstreams.default.tls");
}
