//! The rows of the client side.
#![cfg(feature = "sim")]
