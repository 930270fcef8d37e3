//! Who calls: JSON Web Tokens.
//!
//! It stands in front of admission, though it costs more, for two reasons: the tenant that a token
//! names is what shares are counted by, and a place must not go to somebody who may not have it. What a
//! stranger can make it cost is bounded: one signature, of a text of 8 KiB at the most, and none at
//! all unless the head names an algorithm and a key that are configured.
//!
//! The library verifies signatures, and nothing else is left to it: which algorithm is the key's
//! business (`keys`), and the claims are looked at here, with the time for an argument, so that
//! each refusal has a reason of its own and a test does not wait for the clock. Keys are read when
//! settings are; a new set is a new configuration. A token never reaches a log: its header is marked
//! as sensitive, and no error quotes it.

mod keys;
pub(super) mod settings;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Extensions, HeaderMap, HeaderValue, Request, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tonic::Code;

use super::answer::Refusal;
use super::settings::{AuthMode, SettingErrors};
use keys::Key;
use settings::AuthSettings;

/// The longest token that is looked at, in bytes.
const LONGEST: usize = 8 << 10;

/// What a good token says; among the extensions of a request that brought one.
///
/// ```
/// use seawall::layer::auth::Claims;
///
/// fn who(extensions: &http::Extensions) -> Option<&str> {
///     Claims::of(extensions)?.subject()
/// }
/// # assert_eq!(who(&http::Extensions::new()), None);
/// ```
#[derive(Clone, Debug)]
pub struct Claims(Arc<Map<String, Value>>);

impl Claims {
    /// Those among a request's extensions.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }

    /// `sub`: whom the token speaks of.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.get("sub")?.as_str()
    }

    /// Any of them.
    #[must_use]
    pub fn get(&self, claim: &str) -> Option<&Value> {
        self.0.get(claim)
    }

    /// All of them, as a type of one's own.
    ///
    /// # Errors
    /// They are not of the type.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_value(Value::Object((*self.0).clone()))
    }
}

impl<T> crate::api::Request<T> {
    /// What the caller's token says; `None` where it brought none.
    #[must_use]
    pub fn claims(&self) -> Option<&Claims> {
        Claims::of(self.extensions())
    }
}

/// A token that is not believed; the name of each is the reason on the wire.
macro_rules! refusals {
    ($($name:ident $reason:literal $message:literal;)+) => {
        $(const $name: Refusal = Refusal {
            status: StatusCode::UNAUTHORIZED,
            code: Code::Unauthenticated,
            reason: $reason,
            message: $message,
        };)+
    };
}

refusals! {
    MISSING "TOKEN_MISSING" "a token is needed: authorization: Bearer ...";
    MALFORMED "TOKEN_MALFORMED" "the token makes no sense";
    TOO_LARGE "TOKEN_TOO_LARGE" "the token is longer than 8 KiB";
    ALGORITHM "TOKEN_ALGORITHM" "the token's algorithm is not taken here";
    KEY "TOKEN_KEY" "the token names a key that is not known here";
    SIGNATURE "TOKEN_SIGNATURE" "the token's signature does not hold";
    EXPIRED "TOKEN_EXPIRED" "the token has expired, or does not say when";
    EARLY "TOKEN_NOT_YET_VALID" "the token is not valid yet";
    AUDIENCE "TOKEN_AUDIENCE" "the token is for another service";
    ISSUER "TOKEN_ISSUER" "the token is of an issuer who is not believed here";
}

/// Checks tokens by keys and settings.
pub(super) struct Verifier {
    keys: Vec<Key>,
    audience: Vec<String>,
    issuer: Vec<String>,
    leeway: Duration,
    tenant_claim: Option<String>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier")
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood; none is.
    crit: Option<Value>,
}

impl Verifier {
    /// # Errors
    /// Everything wrong with the settings, keys that cannot be read among it.
    pub(super) fn new(settings: &AuthSettings) -> Result<Self, SettingErrors> {
        let mut wrong = Vec::new();
        settings.check(&mut wrong);
        let mut keys = Vec::new();
        for (at, key) in settings.keys.iter().enumerate() {
            match keys::load(at, key) {
                Ok(loaded) => keys.extend(loaded),
                Err(error) => wrong.push(error),
            }
        }
        if !wrong.is_empty() {
            return Err(SettingErrors(wrong));
        }
        Ok(Self {
            keys,
            audience: settings.audience.clone(),
            issuer: settings.issuer.clone(),
            leeway: settings.leeway.unwrap_or(AuthSettings::LEEWAY),
            tenant_claim: settings.tenant_claim.clone(),
        })
    }

    /// Lets a request pass, its claims among its extensions; its tenant, if its token names one.
    pub(super) fn admit<B>(
        &self,
        mode: AuthMode,
        request: &mut Request<B>,
    ) -> Result<Option<HeaderValue>, Refusal> {
        if mode == AuthMode::None {
            return Ok(None);
        }
        let Some(token) = bearer(request.headers_mut())? else {
            return if mode == AuthMode::Required {
                Err(MISSING)
            } else {
                Ok(None)
            };
        };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let claims = self.verify(&token.as_bytes()[BEARER.len()..], now)?;
        let tenant = self
            .tenant_claim
            .as_ref()
            .and_then(|claim| claims.get(claim)?.as_str());
        let tenant = tenant.and_then(|tenant| HeaderValue::from_str(tenant).ok());
        request.extensions_mut().insert(claims);
        Ok(tenant)
    }

    /// `now`: since 1970.
    fn verify(&self, token: &[u8], now: Duration) -> Result<Claims, Refusal> {
        if token.len() > LONGEST {
            return Err(TOO_LARGE);
        }
        let token = std::str::from_utf8(token).map_err(|_| MALFORMED)?;
        let (message, signature) = token.rsplit_once('.').ok_or(MALFORMED)?;
        let (head, payload) = message.split_once('.').ok_or(MALFORMED)?;
        let head: Head = part(head)?;
        if head.crit.is_some() {
            return Err(MALFORMED);
        }
        self.check_signature(&head, message, signature)?;
        let claims: Map<String, Value> = part(payload)?;
        self.check_claims(&claims, now.as_secs_f64())?;
        Ok(Claims(Arc::new(claims)))
    }

    fn check_signature(&self, head: &Head, message: &str, signature: &str) -> Result<(), Refusal> {
        let algorithm = keys::algorithm(&head.alg).ok_or(ALGORITHM)?;
        let mut of_algorithm = self
            .keys
            .iter()
            .filter(|key| key.algorithm == algorithm)
            .peekable();
        of_algorithm.peek().ok_or(ALGORITHM)?;
        let named = |key: &&Key| match (&head.kid, &key.id) {
            (Some(named), Some(id)) => named == id,
            _ => true,
        };
        let mut candidates = of_algorithm.filter(named).peekable();
        candidates.peek().ok_or(KEY)?;
        let verify = jsonwebtoken::crypto::verify;
        let mut holds = candidates
            .map(|key| verify(signature, message.as_bytes(), &key.key, algorithm).unwrap_or(false));
        if holds.any(|holds| holds) {
            Ok(())
        } else {
            Err(SIGNATURE)
        }
    }

    fn check_claims(&self, claims: &Map<String, Value>, now: f64) -> Result<(), Refusal> {
        let leeway = self.leeway.as_secs_f64();
        let time = |claim: &str| claims.get(claim).map(Value::as_f64);
        match time("exp") {
            Some(Some(expiry)) if now < expiry + leeway => {}
            _ => return Err(EXPIRED),
        }
        match time("nbf") {
            None => {}
            Some(Some(begin)) if begin <= now + leeway => {}
            Some(_) => return Err(EARLY),
        }
        let known = |audience: &Value| {
            let audience = audience.as_str();
            audience.is_some_and(|audience| self.audience.iter().any(|ours| ours == audience))
        };
        let for_us = match claims.get("aud") {
            Some(Value::Array(all)) => all.iter().any(known),
            Some(one) => known(one),
            None => false,
        };
        if !for_us {
            return Err(AUDIENCE);
        }
        let issuer = claims.get("iss").and_then(Value::as_str);
        let believed = |issuer: &str| self.issuer.iter().any(|known| known == issuer);
        if !self.issuer.is_empty() && !issuer.is_some_and(believed) {
            return Err(ISSUER);
        }
        Ok(())
    }
}

/// A part of a token.
fn part<T: DeserializeOwned>(text: &str) -> Result<T, Refusal> {
    let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| MALFORMED)?;
    serde_json::from_slice(&json).map_err(|_| MALFORMED)
}

const BEARER: &str = "Bearer ";

/// The header of a bearer token, which from now on no log shows. Another scheme is none of ours.
fn bearer(headers: &mut HeaderMap) -> Result<Option<HeaderValue>, Refusal> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    if all.next().is_some() && all.next().is_some() {
        return Err(MALFORMED);
    }
    let Some(value) = headers.get_mut(header::AUTHORIZATION) else {
        return Ok(None);
    };
    value.set_sensitive(true);
    let scheme = value.as_bytes().get(..BEARER.len());
    let ours = scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(BEARER.as_bytes()));
    Ok(ours.then(|| value.clone()))
}
