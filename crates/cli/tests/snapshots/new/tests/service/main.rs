//! The program itself, as its callers meet it: `cargo test --test service`.

mod contract;
mod smoke;
mod support;
