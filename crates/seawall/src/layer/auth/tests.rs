use super::*;
use base64::Engine;
use jsonwebtoken::{Algorithm, EncodingKey};
use proptest::prelude::*;
use serde_json::json;

use settings::AuthKey;

/// Made for these tests, and good for nothing else.
const RSA: &str = include_str!("testdata/rsa.pem");
const RSA_PUBLIC: &str = include_str!("testdata/rsa.pub.pem");
const SECRET: &str = "of sixty-four bytes and more, as HS512 wants its secrets to be at least";
const NOW: Duration = Duration::from_secs(1_000_000);

fn secret_key(algorithm: &str) -> AuthKey {
    AuthKey {
        algorithm: Some(algorithm.to_owned()),
        value: Some(SECRET.to_owned()),
        ..AuthKey::default()
    }
}

fn settings(keys: Vec<AuthKey>) -> AuthSettings {
    AuthSettings {
        audience: vec!["shop".to_owned()],
        issuer: vec!["id".to_owned()],
        tenant_claim: Some("org".to_owned()),
        keys,
        ..AuthSettings::default()
    }
}

fn verifier(keys: Vec<AuthKey>) -> Verifier {
    Verifier::new(&settings(keys)).unwrap()
}

fn claims() -> Value {
    json!({ "sub": "ann", "aud": "shop", "iss": "id", "exp": 1_000_060, "org": "acme" })
}

fn with(claim: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[claim] = value;
    claims
}

fn without(claim: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(claim);
    claims
}

fn message(head: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(head), part(claims))
}

fn signed(head: &Value, claims: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = message(head, claims);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

fn hs256(head: Value, claims: Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    signed(&head, &claims, &key, Algorithm::HS256)
}

fn head() -> Value {
    json!({ "alg": "HS256", "typ": "JWT" })
}

fn reason(verifier: &Verifier, token: &str) -> &'static str {
    match verifier.verify(token.as_bytes(), NOW) {
        Ok(_) => "good",
        Err(refusal) => refusal.reason,
    }
}

#[test]
fn every_algorithm_that_may_be_configured() {
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};

    let ec = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let ed = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let secret = || EncodingKey::from_secret(SECRET.as_bytes());
    let cases = [
        ("HS256", SECRET.to_owned(), secret()),
        ("HS384", SECRET.to_owned(), secret()),
        ("HS512", SECRET.to_owned(), secret()),
        (
            "RS256",
            RSA_PUBLIC.to_owned(),
            EncodingKey::from_rsa_pem(RSA.as_bytes()).unwrap(),
        ),
        (
            "ES256",
            ec.public_key_pem(),
            EncodingKey::from_ec_pem(ec.serialize_pem().as_bytes()).unwrap(),
        ),
        (
            "EdDSA",
            ed.public_key_pem(),
            EncodingKey::from_ed_pem(ed.serialize_pem().as_bytes()).unwrap(),
        ),
    ];
    for (name, public, private) in cases {
        let verifier = verifier(vec![AuthKey {
            algorithm: Some(name.to_owned()),
            value: Some(public),
            ..AuthKey::default()
        }]);
        let algorithm = keys::algorithm(name).unwrap();
        let good = signed(&json!({ "alg": name }), &claims(), &private, algorithm);
        assert_eq!(reason(&verifier, &good), "good", "{name}");
        let (message, signature) = good.rsplit_once('.').unwrap();
        let other = with("sub", json!("eve"));
        let (head, _) = message.split_once('.').unwrap();
        let other = URL_SAFE_NO_PAD.encode(other.to_string());
        let forged = format!("{head}.{other}.{signature}");
        assert_eq!(reason(&verifier, &forged), "TOKEN_SIGNATURE", "{name}");
    }
}

#[test]
fn each_refusal_has_its_reason() {
    let verifier = verifier(vec![secret_key("HS256")]);
    let of = |claims| hs256(head(), claims);
    let now = 1_000_000;
    for (token, why) in [
        (of(claims()), "good"),
        (of(with("exp", json!(now - 29))), "good"), // within the leeway
        (of(with("exp", json!(now - 30))), "TOKEN_EXPIRED"),
        (of(with("exp", json!("soon"))), "TOKEN_EXPIRED"),
        (of(without("exp")), "TOKEN_EXPIRED"),
        (of(with("nbf", json!(now + 30))), "good"),
        (of(with("nbf", json!(now + 31))), "TOKEN_NOT_YET_VALID"),
        (of(with("nbf", json!("later"))), "TOKEN_NOT_YET_VALID"),
        (of(with("aud", json!(["other", "shop"]))), "good"),
        (of(with("aud", json!("other"))), "TOKEN_AUDIENCE"),
        (of(with("aud", json!([]))), "TOKEN_AUDIENCE"),
        (of(with("aud", json!({ "shop": 1 }))), "TOKEN_AUDIENCE"),
        (of(without("aud")), "TOKEN_AUDIENCE"),
        (of(with("iss", json!("evil"))), "TOKEN_ISSUER"),
        (of(without("iss")), "TOKEN_ISSUER"),
        (of(json!([1])), "TOKEN_MALFORMED"),
        (
            hs256(json!({ "alg": "HS256", "crit": ["b64"] }), claims()),
            "TOKEN_MALFORMED",
        ),
        (
            hs256(json!({ "alg": "HS512" }), claims()),
            "TOKEN_ALGORITHM",
        ),
        (hs256(json!({}), claims()), "TOKEN_MALFORMED"),
        (
            format!("{}.", message(&json!({ "alg": "none" }), &claims())),
            "TOKEN_ALGORITHM",
        ),
        (
            format!("{}.", message(&json!({ "alg": "NoNe" }), &claims())),
            "TOKEN_ALGORITHM",
        ),
        (
            format!("{}.", message(&head(), &claims())),
            "TOKEN_SIGNATURE",
        ),
        (
            format!("{}.AAAA", message(&head(), &claims())),
            "TOKEN_SIGNATURE",
        ),
        (
            of(with("sub", json!("x".repeat(LONGEST)))),
            "TOKEN_TOO_LARGE",
        ),
        (String::new(), "TOKEN_MALFORMED"),
        ("a.b.c".to_owned(), "TOKEN_MALFORMED"),
        ("..".to_owned(), "TOKEN_MALFORMED"),
        ("\u{fffd}".to_owned(), "TOKEN_MALFORMED"),
    ] {
        assert_eq!(reason(&verifier, &token), why, "{token}");
    }
}

#[test]
fn a_public_key_is_no_secret() {
    // Whoever knows the public key signs with it as if it were a secret.
    let rsa = || AuthKey {
        algorithm: Some("RS256".to_owned()),
        value: Some(RSA_PUBLIC.to_owned()),
        ..AuthKey::default()
    };
    let public = EncodingKey::from_secret(RSA_PUBLIC.as_bytes());
    for alg in ["HS256", "RS256"] {
        let forged = signed(&json!({ "alg": alg }), &claims(), &public, Algorithm::HS256);
        let alone = verifier(vec![rsa()]);
        let why = if alg == "HS256" {
            "TOKEN_ALGORITHM"
        } else {
            "TOKEN_SIGNATURE"
        };
        assert_eq!(reason(&alone, &forged), why);
        // Nor where secrets are taken, too.
        let both = verifier(vec![rsa(), secret_key("HS256")]);
        assert_eq!(reason(&both, &forged), "TOKEN_SIGNATURE");
    }
}

#[test]
fn a_token_picks_among_the_keys() {
    let other = "another secret of thirty-two bytes or more";
    let key = |id: &str, secret: &str| AuthKey {
        id: Some(id.to_owned()),
        value: Some(secret.to_owned()),
        ..secret_key("HS256")
    };
    let verifier = verifier(vec![key("old", other), key("new", SECRET)]);
    let named = |kid: &str| hs256(json!({ "alg": "HS256", "kid": kid }), claims());
    assert_eq!(reason(&verifier, &named("new")), "good");
    assert_eq!(reason(&verifier, &named("old")), "TOKEN_SIGNATURE");
    assert_eq!(reason(&verifier, &named("gone")), "TOKEN_KEY");
    assert_eq!(
        reason(&verifier, &hs256(head(), claims())),
        "good",
        "any may be meant"
    );
}

#[test]
fn a_set_of_keys_is_taken_as_far_as_it_is_good() {
    let secret = URL_SAFE_NO_PAD.encode(SECRET);
    let set = json!({ "keys": [
        { "kty": "oct", "alg": "HS256", "kid": "a", "k": secret },
        { "kty": "oct", "kid": "b", "k": secret },
        { "kty": "EC", "crv": "P-384", "x": "AA", "y": "AA" },
    ]});
    let key = AuthKey {
        value: Some(set.to_string()),
        ..AuthKey::default()
    };
    let verifier = verifier(vec![key]);
    assert_eq!(verifier.keys.len(), 1);
    let token = hs256(json!({ "alg": "HS256", "kid": "a" }), claims());
    assert_eq!(reason(&verifier, &token), "good");
}

#[test]
fn what_is_wrong_with_the_settings_is_told_with_its_remedy() {
    let key = |change: &dyn Fn(&mut AuthKey)| {
        let mut key = secret_key("HS256");
        change(&mut key);
        key
    };
    for (key, says) in [
        (key(&|k| k.algorithm = None), "say its `algorithm`"),
        (
            key(&|k| k.algorithm = Some("none".into())),
            "`none` is none of HS256",
        ),
        (
            key(&|k| k.algorithm = Some("RS256".into())),
            "needs a public key",
        ),
        (
            key(&|k| k.value = Some("short".into())),
            "5 bytes are too few",
        ),
        (
            key(&|k| k.value = Some(RSA_PUBLIC.into())),
            "takes a secret",
        ),
        (key(&|k| k.value = Some(RSA.into())), "is a private key"),
        (
            key(&|k| k.value = Some("{}".into())),
            "neither a JWKS nor a JWK",
        ),
        (key(&|k| k.value = None), "one of `file`, `env` and `value`"),
        (
            key(&|k| k.env = Some("X".into())),
            "one of `file`, `env` and `value`",
        ),
        (
            AuthKey {
                file: Some("/nowhere/key".into()),
                ..AuthKey::default()
            },
            "cannot read `/nowhere/key`",
        ),
    ] {
        let wrong = Verifier::new(&settings(vec![key])).unwrap_err().to_string();
        assert!(
            wrong.contains(says) && wrong.contains("auth.keys[0]"),
            "{says}: {wrong}"
        );
        assert!(!wrong.contains(SECRET), "{wrong}");
    }
    let nothing = Verifier::new(&AuthSettings::default()).unwrap_err();
    assert_eq!(nothing.0.len(), 2, "{nothing}");
    let shown = format!("{:?}", settings(vec![secret_key("HS256")]));
    assert!(!shown.contains(SECRET), "{shown}");
    let printed = serde_json::to_string(&settings(vec![secret_key("HS256")])).unwrap();
    assert!(!printed.contains(SECRET), "{printed}");
}

#[test]
fn whose_header_is_looked_at() {
    let request = |values: &[&str]| {
        let mut request = Request::new(());
        for value in values {
            request
                .headers_mut()
                .append("authorization", value.parse().unwrap());
        }
        request
    };
    let verifier = verifier(vec![secret_key("HS256")]);
    let admit = |mode, values: &[&str]| {
        let mut request = request(values);
        let admitted = verifier.admit(mode, &mut request);
        (
            admitted.map_err(|refusal| refusal.reason).map(|_| ()),
            request,
        )
    };
    let far = with("exp", json!(u32::MAX));
    let good = format!("bearer {}", hs256(head(), far));
    let (admitted, passed) = admit(AuthMode::Required, &[&good]);
    assert_eq!(admitted, Ok(()));
    assert_eq!(
        Claims::of(passed.extensions()).and_then(Claims::subject),
        Some("ann")
    );
    assert!(passed.headers()["authorization"].is_sensitive());
    assert!(!format!("{passed:?}").contains("eyJ"), "no log shows it");
    for (mode, values, expected) in [
        (AuthMode::Required, vec![], Err("TOKEN_MISSING")),
        (AuthMode::Required, vec!["Basic YTpi"], Err("TOKEN_MISSING")),
        (
            AuthMode::Required,
            vec![&*good, &*good],
            Err("TOKEN_MALFORMED"),
        ),
        (AuthMode::Optional, vec![], Ok(())),
        (AuthMode::Optional, vec!["Bearer x"], Err("TOKEN_MALFORMED")),
        (AuthMode::None, vec!["Bearer x"], Ok(())),
    ] {
        assert_eq!(admit(mode, &values).0, expected, "{mode:?} {values:?}");
    }
    let tenant = verifier.admit(AuthMode::Required, &mut request(&[&good]));
    assert_eq!(tenant.unwrap().unwrap(), "acme");
}

proptest! {
    #[test]
    fn garbage_is_refused_and_nothing_worse(token in "[ -~]{0,200}", cut in 0usize..200) {
        let verifier = verifier(vec![secret_key("HS256")]);
        prop_assert_ne!(reason(&verifier, &token), "good");
        let good = hs256(head(), claims());
        if cut < good.len() {
            prop_assert_ne!(reason(&verifier, &good[..cut]), "good");
        }
    }

    #[test]
    fn whoever_changes_a_byte_is_found_out(at: prop::sample::Index, to in "[A-Za-z0-9_-]") {
        let good = hs256(head(), claims());
        let at = at.index(good.len());
        let mut forged = good.clone();
        forged.replace_range(at..=at, &to);
        let verifier = verifier(vec![secret_key("HS256")]);
        // The last character of a part may hold bits that stand for nothing.
        let last = good.match_indices('.').any(|(dot, _)| dot == at + 1) || at + 1 == good.len();
        prop_assume!(forged != good && !last);
        prop_assert_ne!(reason(&verifier, &forged), "good");
    }
}
