//! Who may call: types for a configuration file.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::units_serde::some_time;
use crate::layer::settings::SettingError;

/// `[auth]`: whose tokens are believed.
///
/// ```
/// use seawall::layer::settings::AuthSettings;
///
/// let auth: AuthSettings = toml::from_str(r#"
///     audience = ["shop"]
///     issuer = ["https://id.example"]
///     tenant_claim = "org"
///     [[keys]]
///     file = "/etc/shop/jwks.json"
/// "#)?;
/// assert_eq!(auth.audience, ["shop"]);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthSettings {
    /// Who this service is: a token must name one of them in `aud`. At least one.
    pub audience: Vec<String>,
    /// Whose tokens are believed: `iss` must be one of them. Empty: of whoever has the key.
    pub issuer: Vec<String>,
    /// How far clocks may differ, up to 10 minutes; 30 s by default.
    #[serde(with = "some_time", skip_serializing_if = "Option::is_none")]
    pub leeway: Option<Duration>,
    /// The claim that is the call's tenant, a text; none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_claim: Option<String>,
    /// What tokens are checked by. At least one.
    pub keys: Vec<AuthKey>,
}

/// A key, or a set of them (JWKS), from one of `file`, `env` and `value`.
///
/// The content says what it is: `{` a JWKS or a single JWK, `-----BEGIN` a public key in PEM, else
/// the secret of an HMAC as it stands.
#[derive(Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthKey {
    /// The only algorithm that it is good for: `HS256`, `HS384`, `HS512`, `RS256`, `ES256`, `EdDSA`.
    /// A JWK says its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
    /// Its `kid`, by which tokens name it. A JWK says its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The path of a file that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The environment variable that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// The key itself. For public keys; a secret does not belong in a configuration file.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "hidden")]
    pub value: Option<String>,
}

fn hidden<S: serde::Serializer>(_: &Option<String>, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str("…")
}

impl fmt::Debug for AuthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthKey")
            .field("algorithm", &self.algorithm)
            .field("id", &self.id)
            .field("file", &self.file)
            .field("env", &self.env)
            .field("value", &self.value.as_ref().map(|_| "…"))
            .finish()
    }
}

impl AuthSettings {
    pub(super) const LEEWAY: Duration = Duration::from_secs(30);

    pub(super) fn check(&self, wrong: &mut Vec<SettingError>) {
        let mut tell = |key: &str, problem: &str| {
            wrong.push(SettingError::new(format!("auth.{key}"), problem));
        };
        if self.audience.is_empty() {
            let problem = "is empty: name this service, or tokens made for another would open it";
            tell("audience", problem);
        }
        if self.keys.is_empty() {
            tell(
                "keys",
                "is empty: add `[[auth.keys]]` with `file`, `env` or `value`",
            );
        }
        if self
            .leeway
            .is_some_and(|leeway| leeway > Duration::from_secs(600))
        {
            tell("leeway", "is more than \"10m\": set the clocks instead");
        }
    }
}
