//! The shop's services, as their callers see them. Defined in `proto/shop/v1`.

/// Version 1 of all of them.
pub mod v1 {
    seawall::api::include_proto!("shop.v1");
}
