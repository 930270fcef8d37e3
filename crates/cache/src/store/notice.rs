//! What processes tell each other of entries, and its bytes on a channel.

use bytes::Bytes;

/// What others do to an entry, told to every process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Its value was replaced by a write: what a process holds of it is stale.
    Invalidated(Bytes),
    /// It was loaded, and someone waited for it.
    Filled(Bytes),
    /// Its load failed, and someone waited for it.
    Released(Bytes),
    /// Everyone asks for it; or no longer does.
    Hot(Bytes, bool),
    /// Everything of an earlier epoch is void.
    Epoch(u64),
    /// Notices may have been missed: whatever a process holds may be stale.
    #[cfg_attr(
        not(feature = "redis"),
        expect(dead_code, reason = "spoken over Redis alone")
    )]
    Lost,
}

#[cfg_attr(
    not(feature = "redis"),
    expect(dead_code, reason = "spoken over Redis alone")
)]
impl Notice {
    /// Its bytes. `None` for [`Notice::Lost`], which nobody tells.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let (kind, rest): (u8, &[u8]) = match self {
            Self::Invalidated(key) => (b'I', key),
            Self::Filled(key) => (b'F', key),
            Self::Released(key) => (b'R', key),
            Self::Hot(key, true) => (b'H', key),
            Self::Hot(key, false) => (b'C', key),
            Self::Epoch(epoch) => return Some(format!("E{epoch}").into_bytes()),
            Self::Lost => return None,
        };
        Some([&[kind], rest].concat())
    }

    /// The notice of these bytes, which may be anything.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let key = || Bytes::copy_from_slice(rest);
        match kind {
            b'I' => Some(Self::Invalidated(key())),
            b'F' => Some(Self::Filled(key())),
            b'R' => Some(Self::Released(key())),
            b'H' => Some(Self::Hot(key(), true)),
            b'C' => Some(Self::Hot(key(), false)),
            b'E' => std::str::from_utf8(rest)
                .ok()?
                .parse()
                .ok()
                .map(Self::Epoch),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_read_as_it_was_written() {
        for key in ["", "a", "with spaces\0and NULs", "I"] {
            let key = Bytes::from_static(key.as_bytes());
            for notice in [
                Notice::Invalidated(key.clone()),
                Notice::Filled(key.clone()),
                Notice::Released(key.clone()),
                Notice::Hot(key.clone(), true),
                Notice::Hot(key, false),
                Notice::Epoch(u64::MAX),
            ] {
                let bytes = notice.encode().expect("it is told");
                assert_eq!(Notice::decode(&bytes), Some(notice));
            }
        }
        for garbage in [
            &b""[..],
            b"E",
            b"Ex",
            b"E-1",
            b"E18446744073709551616",
            b"?",
            b"\xff",
        ] {
            assert_eq!(Notice::decode(garbage), None);
        }
    }
}
