//! Tests of whole parts: tables on either database, all of the shop.

mod cached;
mod caller;
mod contract;
mod embedded;
mod every;
mod laws;
mod load;
mod planted;
mod real;
mod shop;
