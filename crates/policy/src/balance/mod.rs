//! Which host a call goes to.

mod choice;
mod dice;
mod fleet;
mod flight;
mod host;
mod hosts;
mod outlier;
mod p2c;
mod peak_ewma;
mod round_robin;
mod sampler;
mod settings;
mod slow_start;
mod sweep;

pub use choice::Choice;
pub use host::{Host, HostSnapshot, HostSpec, Load};
pub use hosts::{Ask, Hosts};
pub use outlier::HostState;
pub use settings::{Algorithm, BalanceSettings, OutlierSettings};
