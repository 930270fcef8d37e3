//! The configuration: one TOML file, every setting of which has a default, a unit, a range and a
//! reason.
//!
//! Nothing has to be configured: [`Config::for_upstream`] is the whole of it. Where a file is
//! given, all of it is looked at before any of it is used, and everything wrong with it is told at
//! once, each by line and with what to write instead ([`Config::parse`]). A file with an error is
//! refused whole; settings that are each right but fight one another are
//! [warned](Config::warnings) of.
//!
//! [`SETTINGS`] is the one place where a setting is described. [`default_toml`], [`explain`] and
//! [`json_schema`] are made from it.

mod addresses;
mod cache;
mod check;
mod client;
mod endpoints;
mod error;
mod kind;
mod model;
mod network;
mod print;
mod ranged;
mod relations;
mod settings;
mod tls;
mod units;
mod upstreams;
mod watch;

use http::Uri;
use toml::de::DeTable;

pub use cache::{CacheConfig, RouteCache};
pub use client::{
    BalanceConfig, BreakerConfig, BreakerKind, BreakerPer, DiscoveryConfig, EjectionConfig,
    FallbackConfig, GutterConfig, HashOn, HealthConfig, ReplicasConfig, RetryConfig,
};
#[cfg(feature = "api")]
pub(crate) use error::nearest;
pub use error::{ConfigError, ConfigErrors, Position, Problem};
pub use kind::Kind;
pub use model::{
    AccessLogConfig, AccessLogMode, Admin, AdmissionConfig, Algorithm, Config, ContextConfig,
    DeadlineConfig, LaneConfig, Level, Listener, LogConfig, Protocol, Route, UnderWayConfig,
    UnderWayKey, Upstream,
};
pub use network::{Network, NetworkError};
pub use print::{default_toml, explain, json_schema, setting};
pub use ranged::{Count, Size, Time};
pub use relations::{BUILT_IN_LANES, MAX_NAMED_LANES, Warning};
pub use settings::{SETTINGS, Setting};
pub use tls::{CertificateFiles, ClientAuth, ListenerTls, TlsVersion, UpstreamTls};
pub use units::{UnitError, parse_size, parse_time};
pub use watch::Watch;

#[cfg(feature = "api")]
pub(crate) use units::units_serde;

use error::Findings;

impl Config {
    /// Reads a file's text.
    ///
    /// # Errors
    /// Everything wrong with it: syntax first, and alone; then unknown settings, wrong types, units
    /// and ranges, and what is missing; and where all of that is right, references that lead
    /// nowhere and routes that match the same calls.
    ///
    /// ```
    /// use seawall::config::Config;
    ///
    /// let errors = Config::parse("[admission]\nmax_wait = 100\nalgoritm = 'fixed'").unwrap_err();
    /// assert_eq!(
    ///     errors.to_string(),
    ///     "line 2, column 12: `admission.max_wait` a bare number has no unit: write \"100ms\", say\n\
    ///      line 3, column 1: `admission.algoritm` unknown setting: did you mean `algorithm`?"
    /// );
    /// ```
    pub fn parse(text: &str) -> Result<Self, ConfigErrors> {
        let mut findings = Findings::new(text);
        let (root, syntax) = DeTable::parse_recoverable(text);
        for error in syntax {
            let span = error.span().unwrap_or(0..0);
            findings.add(span, "", Problem::Syntax(error.message().to_owned()));
        }
        findings.done()?;
        check::walk(&root, &mut findings);
        findings.done()?;
        let config = toml::from_str::<Self>(text).map_err(|error| {
            // The walk has let pass what the types refuse; it is told all the same.
            let problem = Problem::Invalid(error.message().to_owned());
            let position = Position::at(text, error.span().map_or(0, |span| span.start));
            ConfigErrors(vec![ConfigError {
                position,
                key: String::new(),
                problem,
            }])
        })?;
        relations::check(&config, &root, &mut findings);
        findings.done()?;
        Ok(config)
    }

    /// What `--upstream URL` alone gives: every default.
    #[must_use]
    pub fn for_upstream(url: Uri) -> Self {
        let mut config = Self::default();
        config
            .upstreams
            .insert("default".to_owned(), Upstream::to(url));
        config
    }

    /// Where a setting stands in the text it was read from, or the nearest above it; for
    /// [`Warning::key`].
    #[must_use]
    pub fn position(text: &str, key: &str) -> Position {
        let (root, _) = DeTable::parse_recoverable(text);
        let names = key.split(['.', '[']).map(|name| name.trim_end_matches(']'));
        let path: Vec<&str> = names.collect();
        Position::at(text, check::locate(&root, &path).start)
    }
}
