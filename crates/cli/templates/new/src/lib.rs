//! The layers of {{name}}. Each says what it is for; `tests/layers.rs` says what it may know.
//!
//! ```text
//! server ─► service ─► biz ◄─ data
{{#job}}
//!              job ─────┤
{{/job}}
{{#admin}}
//!            admin ─────┘
{{/admin}}
//! ```

{{#admin}}
pub mod admin;
{{/admin}}
pub mod biz;
pub mod config;
pub mod data;
{{#job}}
pub mod job;
{{/job}}
pub mod pkg;
pub mod server;
pub mod service;
