//! The keys that tokens are checked by, each good for one algorithm.
//!
//! The algorithm is the key's and never the token's: a token only picks among keys. So nobody makes
//! an HMAC with a public key for its secret, and `none` picks nothing.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm};
use jsonwebtoken::{Algorithm, DecodingKey};

use super::settings::AuthKey;
use crate::layer::settings::SettingError;

/// What may be configured.
const ALGORITHMS: [(&str, Algorithm); 6] = [
    ("HS256", Algorithm::HS256),
    ("HS384", Algorithm::HS384),
    ("HS512", Algorithm::HS512),
    ("RS256", Algorithm::RS256),
    ("ES256", Algorithm::ES256),
    ("EdDSA", Algorithm::EdDSA),
];
/// RFC 7518, 3.2: a secret is as long as the hash at the least.
const SHORTEST_SECRET: [(Algorithm, usize); 3] = [
    (Algorithm::HS256, 32),
    (Algorithm::HS384, 48),
    (Algorithm::HS512, 64),
];

pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    pub(super) id: Option<String>,
    pub(super) key: DecodingKey,
}

pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    let mut known = ALGORITHMS.iter();
    known
        .find(|(known, _)| *known == name)
        .map(|(_, algorithm)| *algorithm)
}

/// Reads what the `at`th of `[[auth.keys]]` names.
pub(super) fn load(at: usize, settings: &AuthKey) -> Result<Vec<Key>, SettingError> {
    let wrong = |field: &str, problem: String| {
        let field = if field.is_empty() {
            String::new()
        } else {
            format!(".{field}")
        };
        SettingError::new(format!("auth.keys[{at}]{field}"), problem)
    };
    let (source, content) = content(settings).map_err(|(field, problem)| wrong(field, problem))?;
    let named = match settings.algorithm.as_deref() {
        Some(name) => {
            let all = || ALGORITHMS.map(|(name, _)| name).join(", ");
            let unknown = || wrong("algorithm", format!("`{name}` is none of {}", all()));
            Some(algorithm(name).ok_or_else(unknown)?)
        }
        None => None,
    };
    let text = content.trim();
    let keys = if text.starts_with('{') {
        of_jwks(text, named)
    } else if text.starts_with("-----BEGIN") {
        of_pem(text, named).map(|key| vec![key])
    } else {
        of_secret(&content, named).map(|key| vec![key])
    };
    let mut keys = keys.map_err(|problem| wrong(source, problem))?;
    if let (Some(id), [key]) = (&settings.id, &mut keys[..]) {
        key.id = Some(id.clone());
    }
    Ok(keys)
}

fn content(settings: &AuthKey) -> Result<(&'static str, String), (&'static str, String)> {
    match (&settings.file, &settings.env, &settings.value) {
        (Some(path), None, None) => {
            let read = std::fs::read_to_string(path);
            let read = read.map_err(|error| ("file", format!("cannot read `{path}`: {error}")))?;
            Ok(("file", read))
        }
        (None, Some(name), None) => {
            let read = std::env::var(name);
            let read = read.map_err(|error| ("env", format!("`{name}`: {error}")))?;
            Ok(("env", read))
        }
        (None, None, Some(value)) => Ok(("value", value.clone())),
        _ => Err(("", "needs one of `file`, `env` and `value`".to_owned())),
    }
}

fn of_secret(content: &str, named: Option<Algorithm>) -> Result<Key, String> {
    // A file ends with a line's end that nobody means.
    let secret = content.trim_end_matches(['\r', '\n']);
    let algorithm = named.ok_or("is a secret: say its `algorithm`, HS256 say")?;
    let shortest = SHORTEST_SECRET
        .iter()
        .find(|(known, _)| *known == algorithm);
    let (_, shortest) =
        shortest.ok_or_else(|| format!("{algorithm:?} needs a public key, and this is none"))?;
    if secret.len() < *shortest {
        let length = secret.len();
        return Err(format!(
            "{length} bytes are too few for {algorithm:?}: {shortest} at the least"
        ));
    }
    Ok(Key {
        algorithm,
        id: None,
        key: DecodingKey::from_secret(secret.as_bytes()),
    })
}

fn of_pem(text: &str, named: Option<Algorithm>) -> Result<Key, String> {
    let algorithm = named.ok_or("is a public key: say its `algorithm`, RS256 say")?;
    if text.contains("PRIVATE KEY") {
        return Err(
            "is a private key, which only who signs may have: put the public one here".into(),
        );
    }
    let bytes = text.as_bytes();
    let key = match algorithm {
        Algorithm::RS256 => DecodingKey::from_rsa_pem(bytes),
        Algorithm::ES256 => DecodingKey::from_ec_pem(bytes),
        Algorithm::EdDSA => DecodingKey::from_ed_pem(bytes),
        _ => return Err(format!("is a public key, and {algorithm:?} takes a secret")),
    };
    let key = key.map_err(|error| format!("is no key for {algorithm:?}: {error}"))?;
    Ok(Key {
        algorithm,
        id: None,
        key,
    })
}

fn of_jwks(text: &str, named: Option<Algorithm>) -> Result<Vec<Key>, String> {
    let set = serde_json::from_str::<JwkSet>(text).map(|set| set.keys);
    let set = set.or_else(|_| serde_json::from_str::<Jwk>(text).map(|key| vec![key]));
    let set = set.map_err(|error| format!("is neither a JWKS nor a JWK: {error}"))?;
    // A provider publishes keys for other purposes, too; those that fit nothing are left out.
    let keys: Vec<Key> = set.iter().filter_map(of_jwk).collect();
    let fit = |key: &Key| named.is_none_or(|named| key.algorithm == named);
    let keys: Vec<Key> = keys.into_iter().filter(fit).collect();
    if keys.is_empty() {
        return Err("holds no key that can be used".into());
    }
    Ok(keys)
}

fn of_jwk(jwk: &Jwk) -> Option<Key> {
    let natural = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        AlgorithmParameters::OctetKeyPair(curve) if curve.curve == EllipticCurve::Ed25519 => {
            Algorithm::EdDSA
        }
        AlgorithmParameters::OctetKey(_) => match jwk.common.key_algorithm? {
            KeyAlgorithm::HS256 => Algorithm::HS256,
            KeyAlgorithm::HS384 => Algorithm::HS384,
            KeyAlgorithm::HS512 => Algorithm::HS512,
            _ => return None,
        },
        _ => return None,
    };
    let told = jwk
        .common
        .key_algorithm
        .map(|told| algorithm(&told.to_string()));
    let algorithm = told.unwrap_or(Some(natural))?;
    let key = (algorithm == natural).then(|| DecodingKey::from_jwk(jwk).ok())??;
    Some(Key {
        algorithm,
        id: jwk.common.key_id.clone(),
        key,
    })
}
