//! The layers of shop. Each says what it is for; `tests/layers.rs` says what it may know.
//!
//! ```text
//! server ─► service ─► biz ◄─ data
//!              job ─────┤
//!            admin ─────┘
//! ```

pub mod admin;
pub mod biz;
pub mod config;
pub mod data;
pub mod job;
pub mod pkg;
pub mod server;
pub mod service;
