//! What is not about the business, and could serve another as well. Knows no other layer.

pub mod clock;
