//! Notices as bytes: a letter, and the key as it is.
//!
//! A script writes one by putting a letter before a key, and a person reads it with `SUBSCRIBE`. What
//! does not decode was written by another version or by no cache at all: it may have been an
//! invalidation, and is taken for the loss of one.

use bytes::Bytes;

use crate::store::Notice;

impl Notice {
    /// As it is published: `I`, `F` or `R` with the key; `H1` or `H0` with the key; `E` with the
    /// epoch in decimal; `L`.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let of = |letters: &[u8], key: &Bytes| [letters, key].concat();
        match self {
            Self::Invalidated(key) => of(b"I", key),
            Self::Filled(key) => of(b"F", key),
            Self::Released(key) => of(b"R", key),
            Self::Hot(key, true) => of(b"H1", key),
            Self::Hot(key, false) => of(b"H0", key),
            Self::Epoch(epoch) => format!("E{epoch}").into_bytes(),
            Self::Lost => b"L".to_vec(),
        }
    }

    /// `None` for bytes that are no notice.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let key = Bytes::copy_from_slice;
        match *bytes {
            [b'I', ref rest @ ..] => Some(Self::Invalidated(key(rest))),
            [b'F', ref rest @ ..] => Some(Self::Filled(key(rest))),
            [b'R', ref rest @ ..] => Some(Self::Released(key(rest))),
            [b'H', b'1', ref rest @ ..] => Some(Self::Hot(key(rest), true)),
            [b'H', b'0', ref rest @ ..] => Some(Self::Hot(key(rest), false)),
            [b'E', ref rest @ ..] => {
                // `parse` would take a sign.
                let digits = rest.iter().all(u8::is_ascii_digit);
                let text = std::str::from_utf8(rest).ok().filter(|_| digits)?;
                text.parse().ok().map(Self::Epoch)
            }
            [b'L'] => Some(Self::Lost),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_notice() -> impl Strategy<Value = Notice> {
        let key = || any::<Vec<u8>>().prop_map(Bytes::from);
        prop_oneof![
            key().prop_map(Notice::Invalidated),
            key().prop_map(Notice::Filled),
            key().prop_map(Notice::Released),
            (key(), any::<bool>()).prop_map(|(key, hot)| Notice::Hot(key, hot)),
            any::<u64>().prop_map(Notice::Epoch),
            Just(Notice::Lost),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(notice in any_notice()) {
            prop_assert_eq!(Notice::decode(&notice.encode()), Some(notice));
        }

        #[test]
        fn what_is_read_is_written(bytes in any::<Vec<u8>>()) {
            if let Some(notice) = Notice::decode(&bytes)
                && !matches!(notice, Notice::Epoch(_))
            {
                prop_assert_eq!(notice.encode(), bytes);
            }
        }
    }

    #[test]
    fn what_is_none_is_none() {
        let bad: [&[u8]; 10] = [
            b"",
            b"X",
            b"i",
            b"H",
            b"H2k",
            b"E",
            b"E-1",
            b"E+1",
            b"E18446744073709551616",
            b"Lx",
        ];
        for bytes in bad {
            assert_eq!(Notice::decode(bytes), None, "{bytes:?}");
        }
    }
}
