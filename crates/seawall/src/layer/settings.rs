//! What the [`Stack`](super::Stack) is told: types for a configuration file.
//!
//! Every one has a default that protects; times and sizes carry their unit. Unknown keys are
//! errors, and what is out of range is told by [`Settings::check`] and
//! [`Methods::configure`](super::Methods::configure), all of it at once.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

#[cfg(feature = "jwt")]
pub use super::auth::settings::{AuthKey, AuthSettings};
use super::methods::OTHER;
use crate::Criticality;
use crate::config::units_serde::{some_size, some_time};
use crate::config::{BUILT_IN_LANES, MAX_NAMED_LANES, nearest};

/// All that can change while the stack runs.
///
/// ```
/// use seawall::layer::settings::Settings;
///
/// let settings: Settings = toml::from_str(r#"
///     [trace]
///     sample = 0.05
///     [methods."shop.v1.Orders/*"]
///     timeout = "2s"
/// "#)?;
/// assert_eq!(settings.trace.sample, 0.05);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Settings {
    /// `[log]`: the access log.
    pub log: LogSettings,
    /// `[trace]`: which calls are traced.
    pub trace: TraceSettings,
    /// `[auth]`: who may call. Absent: anyone.
    #[cfg(feature = "jwt")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthSettings>,
    /// `[admission]`: how many may be at work, and who waits.
    pub admission: AdmissionSettings,
    /// `[lanes.NAME]`: work that is kept apart, so that neither can starve the other.
    pub lanes: BTreeMap<String, LaneSettings>,
    /// `[methods."shop.v1.Orders/Place"]`: a method, all of a service (`shop.v1.Orders/*`), or all
    /// there are (`*`). What says more of the name holds.
    pub methods: BTreeMap<String, MethodSettings>,
}

/// `[log]`: one line a call.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct LogSettings {
    /// The share of calls without a fault of the service that get a line, 0 to 1; 0.01 by default.
    /// Calls that the service failed always get one.
    pub access: f64,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { access: 0.01 }
    }
}

/// `[trace]`: which calls are traced.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct TraceSettings {
    /// The share of calls that are traced where the caller does not decide, 0 to 1; 0.01 by default.
    /// A trusted caller decides by its `traceparent`; one from outside does not.
    pub sample: f64,
    /// Where spans go, `http://host:4317` (OTLP over gRPC). Absent: ids are passed on, and nothing
    /// is exported.
    pub endpoint: Option<String>,
}

impl Default for TraceSettings {
    fn default() -> Self {
        Self {
            sample: 0.01,
            endpoint: None,
        }
    }
}

/// `[admission]`: how many calls may be at work at once, and who waits. The limit is found by itself.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdmissionSettings {
    /// Decide and count, but turn nobody away and make nobody wait.
    pub shadow: bool,
    /// The least that the limit may be, 1 to `max_limit`; 1 by default.
    pub min_limit: u32,
    /// The most that it may be, to 1,000,000; 10,000 by default.
    pub max_limit: u32,
    /// The longest wait for a place; by default five times the latency without queueing, at least
    /// 100 ms.
    #[serde(with = "some_time", skip_serializing_if = "Option::is_none")]
    pub max_wait: Option<Duration>,
    /// The most that may wait, 1 to 1,000,000; 4,096 by default.
    pub max_queued: u32,
    /// The most long-lived replies at once, 1 to 1,000,000; 10,000 by default.
    pub max_streams: u32,
}

impl Default for AdmissionSettings {
    fn default() -> Self {
        Self {
            shadow: false,
            min_limit: 1,
            max_limit: 10_000,
            max_wait: None,
            max_queued: 4_096,
            max_streams: 10_000,
        }
    }
}

/// `[lanes.NAME]`: work that is kept apart.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LaneSettings {
    /// The share of the limit that it may hold at most, above 0 up to 1; by default all that the
    /// others leave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
}

/// `[methods.NAME]`: what is particular to a method. What is absent is left as it is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MethodSettings {
    /// The longest that a call may take, above 0; what the caller states may be shorter. None by
    /// default. Not for methods that stream: theirs is `idle_timeout`.
    #[serde(with = "some_time", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How long a stream may go without a message from the service; `"0s"`: for ever. 10 minutes by
    /// default. Not for methods that do not stream.
    #[serde(with = "some_time", skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Duration>,
    /// What a call is that does not say how much it matters, or is not believed.
    #[serde(with = "some_criticality", skip_serializing_if = "Option::is_none")]
    pub criticality: Option<Criticality>,
    /// The lane of its calls, by name; by default the gate goes by what it learns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// Whether a call must bring a token; `required` by default where `[auth]` is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthMode>,
    /// The longest request body; by default 4 MiB where generated code reads it. One that says its
    /// length is refused by its head, one that comes in pieces once it is longer. Of a call with many
    /// messages it holds for each that has no length of its own.
    #[serde(with = "some_size", skip_serializing_if = "Option::is_none")]
    pub max_body: Option<u64>,
    /// As [`LogSettings::access`], for this method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_log: Option<f64>,
    /// As [`TraceSettings::sample`], for this method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<f64>,
}

/// Whether a call must bring a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Tokens are not looked at.
    None,
    /// Who brings one must bring a good one.
    Optional,
    /// Nobody passes without.
    #[default]
    Required,
}

/// What is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError {
    /// Where: `methods."shop.v1.Orders/Place".timeout`.
    pub key: String,
    /// What, and what to write instead.
    pub problem: String,
}

impl SettingError {
    pub(super) fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            problem: problem.into(),
        }
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.key, self.problem)
    }
}

/// All that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingErrors(pub Vec<SettingError>);

impl fmt::Display for SettingErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, error) in self.0.iter().enumerate() {
            let line = if n == 0 { "" } else { "\n" };
            write!(f, "{line}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingErrors {}

impl Settings {
    /// What is wrong with them, whichever methods there are.
    ///
    /// # Errors
    /// Shares that are none, times of zero, keys that cannot be read.
    pub fn check(&self) -> Result<(), SettingErrors> {
        let mut wrong = Vec::new();
        share(&mut wrong, "log.access", self.log.access);
        share(&mut wrong, "trace.sample", self.trace.sample);
        self.admission.check(&mut wrong);
        let own = |name: &&String| !BUILT_IN_LANES.contains(&name.as_str());
        if self.lanes.keys().filter(own).count() > MAX_NAMED_LANES {
            let problem = format!("are too many: at most {MAX_NAMED_LANES} of your own");
            wrong.push(SettingError::new("lanes", problem));
        }
        for (name, lane) in &self.lanes {
            if lane
                .share
                .is_some_and(|share| !(share > 0.0 && share <= 1.0))
            {
                let problem = "is above 0, and 1 at most";
                wrong.push(SettingError::new(format!("lanes.{name}.share"), problem));
            }
        }
        for (name, method) in &self.methods {
            let key = |field| format!("methods.\"{name}\".{field}");
            for (field, value) in [("access_log", method.access_log), ("trace", method.trace)] {
                if let Some(value) = value {
                    share(&mut wrong, &key(field), value);
                }
            }
            if !is_a_name(name) {
                let problem = "is no method: write \"package.Service/Method\", \"package.Service/*\" or \"*\"";
                wrong.push(SettingError::new(format!("methods.\"{name}\""), problem));
            }
            if let Some(lane) = &method.lane {
                self.check_lane(&mut wrong, key("lane"), lane);
            }
            if method.timeout == Some(Duration::ZERO) {
                let problem = "a call needs some time: write \"2s\", say, or leave it out";
                wrong.push(SettingError::new(key("timeout"), problem));
            }
        }
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(SettingErrors(wrong))
        }
    }
}

impl Settings {
    /// Whether there is a lane of this name.
    fn check_lane(&self, wrong: &mut Vec<SettingError>, key: String, lane: &str) {
        let names = || {
            let own = self.lanes.keys().map(String::as_str);
            BUILT_IN_LANES.into_iter().chain(own)
        };
        if names().any(|name| name == lane) {
            return;
        }
        let meant = match nearest(lane, names()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("add `[lanes.{lane}]`"),
        };
        let problem = format!("there is no lane `{lane}`: {meant}");
        wrong.push(SettingError::new(key, problem));
    }
}

/// Whether a method, or all of a service, may have this name.
fn is_a_name(name: &str) -> bool {
    let word = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    match name.split_once('/') {
        None => name == "*" || name == OTHER,
        Some((service, method)) => service.split('.').all(word) && (method == "*" || word(method)),
    }
}

impl AdmissionSettings {
    fn check(&self, wrong: &mut Vec<SettingError>) {
        const MOST: u32 = 1_000_000;
        let mut range = |key: &str, value: u32, most: u32| {
            if !(1..=most).contains(&value) {
                let problem = format!("{value} is out of range: 1 to {most}");
                wrong.push(SettingError::new(format!("admission.{key}"), problem));
            }
        };
        range("max_limit", self.max_limit, MOST);
        range("min_limit", self.min_limit, self.max_limit.clamp(1, MOST));
        range("max_queued", self.max_queued, MOST);
        range("max_streams", self.max_streams, MOST);
    }
}

fn share(wrong: &mut Vec<SettingError>, key: &str, value: f64) {
    if !(0.0..=1.0).contains(&value) {
        let problem = format!("{value} is no share: 0 (none) to 1 (all)");
        wrong.push(SettingError::new(key, problem));
    }
}

mod some_criticality {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

    use crate::Criticality;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Option<Criticality>, D::Error> {
        let text = String::deserialize(d)?;
        let known = || Criticality::ALL.map(Criticality::as_str).join(", ");
        let unknown = || D::Error::custom(format!("unknown criticality `{text}`: {}", known()));
        Criticality::parse(&text).ok_or_else(unknown).map(Some)
    }

    pub(super) fn serialize<S: Serializer>(
        value: &Option<Criticality>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        value.map(Criticality::as_str).serialize(s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read() {
        let text = r#"
            [log]
            access = 1.0
            [lanes.reports]
            [methods."a.B/*"]
            timeout = "250ms"
            idle_timeout = "0s"
            criticality = "sheddable"
            lane = "reports"
            auth = "optional"
            max_body = "64KiB"
            access_log = 0.5
            trace = 0.0
        "#;
        let settings: Settings = toml::from_str(text).unwrap();
        let printed = serde_json::to_value(&settings).unwrap();
        assert_eq!(printed["methods"]["a.B/*"]["timeout"], "250ms");
        assert_eq!(
            serde_json::from_value::<Settings>(printed).unwrap(),
            settings
        );
        settings.check().unwrap();
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let mut settings = Settings::default();
        settings.log.access = f64::NAN;
        settings.trace.sample = -0.1;
        let method = MethodSettings {
            timeout: Some(Duration::ZERO),
            trace: Some(2.0),
            ..MethodSettings::default()
        };
        settings.methods.insert("a/B".to_owned(), method);
        let SettingErrors(wrong) = settings.check().unwrap_err();
        let keys: Vec<_> = wrong.iter().map(|error| &*error.key).collect();
        let method = ["methods.\"a/B\".trace", "methods.\"a/B\".timeout"];
        assert_eq!(keys, ["log.access", "trace.sample", method[0], method[1]]);
    }

    #[test]
    fn units_and_names_are_asked_for() {
        for (line, says) in [
            ("timeout = 30", "invalid type: integer"),
            ("timeout = \"30\"", "no unit"),
            ("max_body = \"1s\"", "size"),
            ("criticality = \"high\"", "critical-plus"),
            ("auth = \"no\"", "optional"),
            ("timout = \"1s\"", "timeout"),
        ] {
            let error = toml::from_str::<MethodSettings>(line).unwrap_err();
            assert!(error.to_string().contains(says), "{line}: {error}");
        }
    }
}
