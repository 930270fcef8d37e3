//! The layers of shop. Each says what it is for; `tests/layers.rs` says what it may know.
//!
//! ```text
//! server ─► service ─► biz ◄─ data
//! ```

pub mod biz;
pub mod config;
pub mod data;
pub mod pkg;
pub mod server;
pub mod service;
