//! Tests of whole parts: tables on either database, all of the shop.

mod contract;
mod embedded;
mod laws;
mod real;
mod shop;
