//! How a database is reached.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::Error;
use crate::config::parse_time;

/// Where a database is: `mysql://user:password@host:3306/name`, `sqlite:///var/lib/shop.db`.
///
/// Neither `Debug` nor `Display` nor `Serialize` shows the password.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// With what is secret.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    /// The same with this password, of whatever characters: for `scheme://user@…`, so that a
    /// configuration keeps the password apart. As it is where it names no user.
    #[must_use]
    pub fn with_password(&self, password: &str) -> Self {
        use std::fmt::Write as _;
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return self.clone();
        };
        let Some((user, at)) = rest.rsplit_once('@') else {
            return self.clone();
        };
        let user = user.split(':').next().unwrap_or_default();
        let mut url = format!("{scheme}://{user}:");
        for byte in password.bytes() {
            // Into a string, which takes it.
            let _ = match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => write!(url, "{}", char::from(byte)),
                _ => write!(url, "%{byte:02X}"),
            };
        }
        Self(format!("{url}@{at}"))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Host and port, or the file: what metrics and errors call the server.
    pub(super) fn place(&self) -> &str {
        let rest = self.0.split_once(':').map_or("", |(_, rest)| rest);
        let rest = rest.trim_start_matches("//");
        let rest = rest.split('?').next().unwrap_or_default();
        match rest.rsplit_once('@') {
            Some((_, at)) => at.split('/').next().unwrap_or_default(),
            None => rest,
        }
    }
}

impl<T: Into<String>> From<T> for DatabaseUrl {
    fn from(url: T) -> Self {
        Self(url.into())
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            // No URL, so what of it is secret cannot be told.
            let scheme = self.0.split(':').next().unwrap_or_default();
            return write!(f, "{scheme}:…");
        };
        // What follows may name key files and passwords of their own.
        let rest = rest.split('?').next().unwrap_or_default();
        match rest.rsplit_once('@') {
            Some((user, at)) => match user.split_once(':') {
                Some((user, _)) => write!(f, "{scheme}://{user}:…@{at}"),
                None => write!(f, "{scheme}://{user}@{at}"),
            },
            None => write!(f, "{scheme}://{rest}"),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Serialize for DatabaseUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How a database is reached, as the section `[data]` of a configuration file says it. Times carry
/// their unit: `"250ms"`.
///
/// ```
/// use seawall::data::Settings;
/// # use std::time::Duration;
///
/// let settings: Settings = toml::from_str(r#"
///     primary = "mysql://shop:secret@10.0.0.1/shop"
///     replicas = ["mysql://shop:secret@10.0.0.2/shop"]
///     max_lag = "2s"
///
///     [lanes.reports]
///     connections = 2
///     fallback = 0
/// "#)?;
/// assert_eq!(settings.max_lag, Duration::from_secs(2));
/// assert!(!format!("{settings:?}").contains("secret"));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The server that is written to. No default.
    pub primary: DatabaseUrl,
    /// Servers that follow it, and are read. Default: none. MariaDB with GTIDs alone.
    pub replicas: Vec<DatabaseUrl>,
    /// A replica whose data may be older than this is not read. 200 ms to a day; default: 1 s.
    #[serde(deserialize_with = "time")]
    pub max_lag: Duration,
    /// How often each server is asked how far it is. 10 ms to 10 s, and at most a third of
    /// `max_lag`; default: 100 ms. Who has written reads at the
    /// primary for about as long, and each process asks each server so often.
    #[serde(deserialize_with = "time")]
    pub probe_interval: Duration,
    /// Connections to the primary for writes, and to each server for reads, at most. 1 to 10,000;
    /// default: 10.
    pub connections: u32,
    /// Connections to the primary for reads of those who have just written, at most. Default: 4.
    pub own_reads: u32,
    /// Connections to the primary for reads while no replica will do, at most; 0 refuses them.
    /// Default: 4.
    pub fallback: u32,
    /// Pools apart for work that must not take the others' connections. Default: none.
    pub lanes: BTreeMap<String, LaneSettings>,
    /// How long to wait for a connection that others use. 1 ms to a minute; default: 1 s.
    #[serde(deserialize_with = "time")]
    pub acquire_timeout: Duration,
    /// How long making a connection may take. 1 ms to a minute; default: 1 s.
    #[serde(deserialize_with = "time")]
    pub connect_timeout: Duration,
    /// How long a statement may run at the server, whoever waits for it or no longer does. 10 ms to
    /// a day; default: 30 s.
    #[serde(deserialize_with = "time")]
    pub statement_timeout: Duration,
    /// A connection that nobody has used for so long is closed. 1 s to a day; default: 5 min.
    #[serde(deserialize_with = "time")]
    pub idle_timeout: Duration,
    /// A connection is closed after this, so that servers behind one name come into use. 1 s to a
    /// day; default: 30 min.
    #[serde(deserialize_with = "time")]
    pub max_lifetime: Duration,
}

/// Connections of a lane, of the meaning and with the limits that they have in [`Settings`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LaneSettings {
    /// To the primary for writes, and to each server for reads. Default: 2.
    pub connections: u32,
    /// To the primary for reads of those who have just written. Default: 1.
    pub own_reads: u32,
    /// To the primary while no replica will do. Default: 0: work worth a lane of its own is seldom
    /// worth the primary.
    pub fallback: u32,
}

impl Default for LaneSettings {
    fn default() -> Self {
        Self {
            connections: 2,
            own_reads: 1,
            fallback: 0,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            primary: DatabaseUrl::default(),
            replicas: Vec::new(),
            max_lag: Duration::from_secs(1),
            probe_interval: Duration::from_millis(100),
            connections: 10,
            own_reads: 4,
            fallback: 4,
            lanes: BTreeMap::new(),
            acquire_timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
            statement_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(300),
            max_lifetime: Duration::from_secs(1_800),
        }
    }
}

impl Settings {
    /// A database alone, and else the defaults.
    #[must_use]
    pub fn new(primary: impl Into<DatabaseUrl>) -> Self {
        Self {
            primary: primary.into(),
            ..Self::default()
        }
    }

    pub(super) fn lane(&self) -> LaneSettings {
        LaneSettings {
            connections: self.connections,
            own_reads: self.own_reads,
            fallback: self.fallback,
        }
    }

    /// # Errors
    /// Names the setting that is out of its range, and the range.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |name: &str, problem: &str| Err(Error::settings(name, problem));
        if self.primary.is_empty() {
            return wrong("primary", "needed: mysql://user:password@host/name, say");
        }
        let times: [(&str, Duration, u64, u64); 7] = [
            ("max_lag", self.max_lag, 200, 86_400_000),
            ("probe_interval", self.probe_interval, 10, 10_000),
            ("acquire_timeout", self.acquire_timeout, 1, 60_000),
            ("connect_timeout", self.connect_timeout, 1, 60_000),
            ("statement_timeout", self.statement_timeout, 10, 86_400_000),
            ("idle_timeout", self.idle_timeout, 1_000, 86_400_000),
            ("max_lifetime", self.max_lifetime, 1_000, 86_400_000),
        ];
        for (name, time, least, most) in times {
            let range = Duration::from_millis(least)..=Duration::from_millis(most);
            if !range.contains(&time) {
                return wrong(name, &format!("{time:?} is outside of {range:?}"));
            }
        }
        if self.probe_interval > self.max_lag / 3 {
            return wrong("probe_interval", "more than a third of max_lag");
        }
        for lane in self.lanes.values().chain([&self.lane()]) {
            let few = 0..=10_000;
            if !(1..=10_000).contains(&lane.connections) {
                return wrong("connections", "1 to 10,000");
            }
            if !few.contains(&lane.own_reads) || lane.own_reads == 0 {
                return wrong("own_reads", "1 to 10,000");
            }
            if !few.contains(&lane.fallback) {
                return wrong("fallback", "0 to 10,000");
            }
        }
        Ok(())
    }
}

fn time<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    parse_time(&String::deserialize(d)?).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        for (url, shown, place) in [
            (
                "mysql://u:s3cret@h:1/d?x=s3cret",
                "mysql://u:…@h:1/d",
                "h:1",
            ),
            ("mysql://u:s3@cret@h/d", "mysql://u:…@h/d", "h"),
            ("mysql://u@h/d", "mysql://u@h/d", "h"),
            ("sqlite:///a/b.db", "sqlite:///a/b.db", "/a/b.db"),
            ("mysql:s3cret", "mysql:…", "s3cret"),
        ] {
            let url = DatabaseUrl::from(url);
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("\"{shown}\""));
            assert_eq!(url.place(), place);
        }
    }

    #[test]
    fn a_password_of_any_characters_comes_apart() {
        let url = DatabaseUrl::from("mysql://shop@h:1/d").with_password("a@b/é");
        assert_eq!(url.reveal(), "mysql://shop:a%40b%2F%C3%A9@h:1/d");
        assert_eq!(url.to_string(), "mysql://shop:…@h:1/d");
        let file = DatabaseUrl::from("sqlite:///a/b.db");
        assert_eq!(file.with_password("x"), file);
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let bad = |change: fn(&mut Settings)| {
            let mut settings = Settings::new("mysql://h/d");
            change(&mut settings);
            settings.check().expect_err("bad").to_string()
        };
        assert!(bad(|s| s.primary = "".into()).contains("primary"));
        assert!(bad(|s| s.max_lag = Duration::ZERO).contains("max_lag"));
        assert!(bad(|s| s.probe_interval = Duration::from_millis(900)).contains("probe_interval"));
        assert!(bad(|s| s.connections = u32::MAX).contains("connections"));
        let none = LaneSettings {
            connections: 0,
            ..LaneSettings::default()
        };
        let mut settings = Settings::new("mysql://h/d");
        settings.lanes.insert("reports".into(), none);
        assert!(settings.check().is_err());
        assert!(
            toml::from_str::<Settings>("max_lag = 5").is_err(),
            "a bare number"
        );
        assert!(toml::from_str::<Settings>("max_lagg = \"5s\"").is_err());
    }
}
