//! What values are found by.

use std::hash::Hash;
use std::sync::Arc;

/// A key: typed for the caller, bytes for Redis and the filter.
///
/// Two keys that differ must write different bytes, and one key always the same. Any bytes will do,
/// spaces and NULs among them. Integers are written in decimal, so that Redis shows them; the parts
/// of a tuple each with its length before it, so that `("ab", "c")` is not `("a", "bc")`.
///
/// ```
/// use seawall_cache::Key;
///
/// let mut bytes = Vec::new();
/// (String::from("de"), 42_u64).write(&mut bytes);
/// assert_eq!(bytes, b"2:de2:42");
/// ```
pub trait Key: Hash + Eq + Clone + Send + Sync + 'static {
    /// Appends the key's bytes.
    fn write(&self, bytes: &mut Vec<u8>);
}

impl Key for String {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self.as_bytes());
    }
}

impl Key for &'static str {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self.as_bytes());
    }
}

impl Key for Arc<str> {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self.as_bytes());
    }
}

impl Key for Vec<u8> {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self);
    }
}

impl Key for bytes::Bytes {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self);
    }
}

macro_rules! decimal {
    ($($integer:ty)*) => {$(
        impl Key for $integer {
            fn write(&self, bytes: &mut Vec<u8>) {
                // Writing into a vector does not fail.
                let _ = std::io::Write::write_fmt(bytes, format_args!("{self}"));
            }
        }
    )*};
}
decimal!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);

impl<A: Key, B: Key> Key for (A, B) {
    fn write(&self, bytes: &mut Vec<u8>) {
        part(&self.0, bytes);
        part(&self.1, bytes);
    }
}

impl<A: Key, B: Key, C: Key> Key for (A, B, C) {
    fn write(&self, bytes: &mut Vec<u8>) {
        part(&self.0, bytes);
        part(&self.1, bytes);
        part(&self.2, bytes);
    }
}

fn part(key: &impl Key, bytes: &mut Vec<u8>) {
    let mut written = Vec::new();
    key.write(&mut written);
    let _ = std::io::Write::write_fmt(bytes, format_args!("{}:", written.len()));
    bytes.append(&mut written);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(key: &impl Key) -> Vec<u8> {
        let mut bytes = Vec::new();
        key.write(&mut bytes);
        bytes
    }

    proptest! {
        #[test]
        fn pairs_that_differ_write_different_bytes(
            a in (".{0,4}", ".{0,4}"), b in (".{0,4}", ".{0,4}")
        ) {
            prop_assert_eq!(a == b, bytes(&a) == bytes(&b));
        }
    }
}
