//! Where an instance is: `/PREFIX/SERVICE/ID`.

use std::fmt::{self, Write as _};

use super::Cluster;
use super::place::is_plain;

/// What all keys of a service begin with.
pub(super) fn of_service(cluster: &Cluster, service: &str) -> String {
    let slash = if cluster.prefix().is_empty() { "" } else { "/" };
    format!("{slash}{}/{}/", cluster.prefix(), Escaped(service))
}

/// Where an instance is.
pub(super) fn of_instance(cluster: &Cluster, service: &str, id: &str) -> String {
    of_service(cluster, service) + &Escaped(id).to_string()
}

/// The end of the range of all keys that begin with `prefix`, which ends in a slash.
pub(super) fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// Any text as a part of a key: two that differ stay different, and none reaches into another's.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            if is_plain(byte) {
                f.write_char(char::from(byte))?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys() {
        let cluster: Cluster = "etcd://a:1/x/y".parse().unwrap();
        assert_eq!(of_instance(&cluster, "orders", "a-1"), "/x/y/orders/a-1");
        assert_eq!(
            of_instance(&cluster, "a/b", "../c%"),
            "/x/y/a%2Fb/..%2Fc%25"
        );
        let bare: Cluster = "etcd://a:1".parse().unwrap();
        assert_eq!(of_service(&bare, "orders"), "/orders/");
    }

    proptest! {
        #[test]
        fn a_service_has_its_keys_and_no_others(service: String, other: String, id: String) {
            let cluster: Cluster = "etcd://a:1/x".parse().unwrap();
            let range = of_service(&cluster, &service);
            let within = |service: &str| {
                let key = of_instance(&cluster, service, &id).into_bytes();
                *range.as_bytes() <= *key && key < end_of(&range)
            };
            prop_assert!(within(&service));
            prop_assert_eq!(within(&other), service == other);
        }
    }
}
