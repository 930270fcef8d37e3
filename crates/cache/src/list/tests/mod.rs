mod index;
mod laws;
#[cfg(feature = "redis")]
mod redis;
mod steps;
