//! What this service can be told, beside what every one can (`http`, `grpc`, `admin`, `drain`, …).
//! Each part's settings are with the part.

use serde::{Deserialize, Serialize};

use crate::data;

/// Sections of `config.toml`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Config {
    pub data: data::Settings,
}
