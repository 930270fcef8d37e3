//! The definitions in `proto/` as Rust: `shop.v1` is the module `shop::v1`, with its messages, a
//! trait and a client for each service, and its errors. Made when this crate is built.

seawall::api::include_proto!();
