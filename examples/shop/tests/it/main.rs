//! Tests of whole parts.

mod embedded;
mod laws;
mod real;
