//! What the shop can be told. All services read one file, so that there is one place to look; each
//! takes what is its own, and addresses of several instances come by `--set` or the environment.

use std::sync::Arc;
use std::time::Duration;

use seawall::config::{Count, Time};
use seawall::sync::Snapshot;
use serde::{Deserialize, Serialize};

use crate::pkg::sql;

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
    pub catalog: sql::Settings,
    /// Orders.
    pub order: sql::Settings,
    /// Notices.
    pub notify: sql::Settings,
}

impl Default for Data {
    fn default() -> Self {
        let embedded = |name| sql::Settings::new(format!("sqlite://{name}.db"));
        Self {
            catalog: embedded("catalog"),
            order: embedded("order"),
            notify: embedded("notify"),
        }
    }
}

/// `[cache]`: where product rows are cached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct CacheSettings {
    /// `redis://HOST:PORT`. Nothing is cached without.
    pub redis: Option<String>,
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
/// `slots / service_time`, whatever the machine can do. Nothing is scarce unless said.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Plant {
    /// How long a call that reads or sells products holds a slot; 0 for not at all.
    pub service_time: Time<0, 60_000>,
    /// Slots.
    pub slots: Count<1, 10_000>,
}

impl Default for Plant {
    fn default() -> Self {
        Self {
            service_time: Time::new(Duration::ZERO),
            slots: Count::new(4),
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
