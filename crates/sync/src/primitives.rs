//! The lock and the counter under our own primitives.
//!
//! In a module of its own so that `tests/shuttle.rs`, which compiles the same sources a second
//! time, can put some there whose every use is a point where the scheduler may switch threads.

pub(crate) use std::sync::atomic::AtomicU64;

pub(crate) use parking_lot::Mutex;
