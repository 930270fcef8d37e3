//! What is in a list, as the bytes that its ties are ordered by.

use bytes::Bytes;

/// A member of a list: typed for the caller, bytes in Redis.
///
/// Of equal scores, members are ordered by these bytes, and the database must order them alike:
/// integers are written so that their bytes are in their order; text needs a binary collation
/// (`COLLATE utf8mb4_bin`) in the `ORDER BY` and in the comparison with the cursor.
pub trait Member: Clone + Send + Sync + 'static {
    /// Its bytes.
    fn bytes(&self) -> Bytes;

    /// The member of these bytes; `None` for bytes that are no such member.
    fn read(bytes: &Bytes) -> Option<Self>;
}

impl Member for Bytes {
    fn bytes(&self) -> Bytes {
        self.clone()
    }

    fn read(bytes: &Bytes) -> Option<Self> {
        Some(bytes.clone())
    }
}

impl Member for String {
    fn bytes(&self) -> Bytes {
        Bytes::copy_from_slice(self.as_bytes())
    }

    fn read(bytes: &Bytes) -> Option<Self> {
        std::str::from_utf8(bytes).ok().map(str::to_owned)
    }
}

macro_rules! integer {
    ($($integer:ty: $flip:expr),*) => {$(
        /// Eight bytes, most significant first.
        impl Member for $integer {
            fn bytes(&self) -> Bytes {
                Bytes::copy_from_slice(&(*self ^ $flip).to_be_bytes())
            }

            fn read(bytes: &Bytes) -> Option<Self> {
                Some(Self::from_be_bytes((&bytes[..]).try_into().ok()?) ^ $flip)
            }
        }
    )*};
}
integer!(u64: 0, i64: i64::MIN);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_bytes_of_integers_are_in_their_order(a: i64, b: i64, c: u64, d: u64) {
            prop_assert_eq!(a.cmp(&b), a.bytes().cmp(&b.bytes()));
            prop_assert_eq!(c.cmp(&d), Member::bytes(&c).cmp(&Member::bytes(&d)));
            prop_assert_eq!(i64::read(&a.bytes()), Some(a));
            prop_assert_eq!(u64::read(&Member::bytes(&c)), Some(c));
        }
    }
}
