//! A shop of several services, which shows what Seawall is for.
//!
//! Each service is a module in the layers that `seawall new` makes: `service` turns messages into
//! what the business knows and back, `biz` holds the rules and says as traits what it needs, `data`
//! gives it that. How a service is put together stands in its `mod.rs`, and nowhere else.

pub mod admin;
pub mod catalog;
pub mod config;
pub mod notify;
pub mod order;
pub mod pkg;
pub mod up;
pub mod worker;
