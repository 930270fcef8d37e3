//! What the shop can be told. All services read one file, so that there is one place to look; each
//! takes what is its own, and addresses of several instances come by `--set` or the environment.

use std::sync::Arc;
use std::time::Duration;

use seawall::app::Secret;
use seawall::config::{Count, Time};
use seawall::data::{DatabaseUrl, LaneSettings, Settings};
use seawall::sync::Snapshot;
use serde::{Deserialize, Serialize};

/// The shop's sections, beside those that every program has.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Config {
    /// Where rows are kept.
    pub data: Data,
    /// Where rows are cached.
    pub cache: CacheSettings,
    /// How it is told what became of orders.
    pub events: Events,
    /// What may be turned off when it is too much. Takes effect at once.
    pub degrade: Degrade,
    /// What is granted to customers.
    pub terms: Terms,
    /// Who operates the shop.
    pub operator: Operator,
    /// What the catalog lacks on purpose.
    pub plant: Plant,
}

/// `[data]`: a database for each service that keeps rows.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Data {
    /// Products and stock.
    pub catalog: Rows,
    /// Orders.
    pub order: Rows,
    /// Notices.
    pub notify: Rows,
}

impl Default for Data {
    fn default() -> Self {
        let embedded = |name: &str| Rows::new(format!("sqlite://{name}.db"));
        Self {
            catalog: embedded("catalog"),
            order: embedded("order"),
            notify: embedded("notify"),
        }
    }
}

/// `[data.NAME]`: where a service keeps its rows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rows {
    /// `sqlite://FILE` or `mysql://USER@HOST:PORT/NAME`. A password in it is not shown.
    pub url: DatabaseUrl,
    /// Where what only shows is read, as long as it is not too far behind. None unless said.
    #[serde(default)]
    pub replicas: Vec<DatabaseUrl>,
    /// The user's, at all of these: `env:NAME` or `file:PATH`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
}

/// Connections apart for what is looked through and not asked for one by one.
pub const REPORTS: &str = "reports";

impl Rows {
    /// A database at this URL.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into().into(),
            replicas: Vec::new(),
            password: None,
        }
    }

    /// Whether it is embedded: SQLite.
    #[must_use]
    pub fn embedded(&self) -> bool {
        self.url.to_string().starts_with("sqlite:")
    }

    /// As the kit wants it.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let whole = |url: &DatabaseUrl| match &self.password {
            Some(password) => url.with_password(password.expose()),
            None => url.clone(),
        };
        let mut settings = Settings::new(whole(&self.url));
        settings.replicas = self.replicas.iter().map(whole).collect();
        let reports = LaneSettings {
            fallback: 1,
            ..LaneSettings::default()
        };
        settings.lanes.insert(REPORTS.to_owned(), reports);
        settings
    }
}

/// `[cache]`: product rows, kept by each instance of the catalog and, with Redis, by all together.
/// Read at the start.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct CacheSettings {
    /// `redis://HOST:PORT`. Without, each instance has a cache of its own.
    pub redis: Option<String>,
    /// How long a row is kept at most, with Redis: how long a change shows late that was made past
    /// the catalog. Its own throw the row out.
    pub ttl: Time<0, { 24 * 3_600_000 }>,
    /// The same without Redis, where an instance hears of its own sales alone: how long those of
    /// others show late.
    pub alone: Time<0, 60_000>,
    /// Rows that an instance keeps itself; 0 for none.
    pub rows: Count<0, 10_000_000>,
    /// Products that there are, about: what the filter of absent ones is made for, which takes ten bits
    /// each.
    pub products: Count<1, 1_000_000_000>,
    /// Rows that an instance may load from the database in any second, whatever becomes of the cache;
    /// the more critical calls come first.
    pub loads: Count<1, 1_000_000>,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            redis: None,
            ttl: Time::new(Duration::from_secs(600)),
            alone: Time::new(Duration::from_secs(1)),
            rows: Count::new(10_000),
            products: Count::new(100_000),
            loads: Count::new(1_000),
        }
    }
}

/// `[events]`: how it is told what became of orders.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Events {
    /// `nats://HOST:PORT`. Without, the notify service is called.
    pub nats: Option<String>,
}

/// `[degrade]`: what is there, unless an operator turns it off for everyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Degrade {
    /// Products that go with one.
    pub recommendations: bool,
}

impl Default for Degrade {
    fn default() -> Self {
        Self {
            recommendations: true,
        }
    }
}

/// `[terms]`: what is granted to customers.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Terms {
    /// How long there is to pay for an order.
    pub pay_within: Time<1_000, { 30 * 24 * 3_600_000 }>,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            pay_within: Time::new(Duration::from_secs(15 * 60)),
        }
    }
}

/// `[operator]`: where switches are kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Operator {
    /// The file that all services read, in which `[degrade]` is changed.
    pub file: String,
}

impl Default for Operator {
    fn default() -> Self {
        Self {
            file: "shop.toml".to_owned(),
        }
    }
}

/// `[plant]`: a scarce resource behind the catalog, for benches: the capacity of an instance is then
/// `slots / service_time`, whatever the machine can do; and faults in it, for `docs/profiling.md` to
/// find. Nothing of it unless said. Read at the start.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Plant {
    /// How long a call that reads or sells products holds a slot; 0 for not at all.
    pub service_time: Time<0, 60_000>,
    /// Slots.
    pub slots: Count<1, 10_000>,
    /// A list of products computes far more than it needs.
    pub hot_spot: bool,
    /// Each page of details stays in memory.
    pub leak: bool,
    /// Whoever asks for a product waits for a lock that is held for 5 ms.
    pub convoy: bool,
}

impl Default for Plant {
    fn default() -> Self {
        Self {
            service_time: Time::new(Duration::ZERO),
            slots: Count::new(4),
            hot_spot: false,
            leak: false,
            convoy: false,
        }
    }
}

/// What is turned off now: asked anew for each request, and as quick as reading a variable.
#[derive(Clone)]
pub struct Switches(Arc<Snapshot<Config>>);

impl Switches {
    /// Those of this configuration.
    #[must_use]
    pub fn of(config: Arc<Snapshot<Config>>) -> Self {
        Self(config)
    }

    /// Whether products are recommended.
    #[must_use]
    pub fn recommendations(&self) -> bool {
        self.0.load().degrade.recommendations
    }
}
