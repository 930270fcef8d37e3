//! Watching for a head that gives both a length and a transfer encoding.
//!
//! hyper lets the encoding win and drops the length before anyone can see it. That is allowed, but
//! such a request is either a mistake or an attempt to smuggle another one past somebody who lets
//! the length win, so it is refused. The bytes are looked at on their way in, line by line and only
//! at the beginnings of lines, until the head ends.

/// What has been seen of the head that is being read.
#[derive(Debug, Default)]
pub(crate) struct Framing {
    /// The beginning of the present line, in lower case.
    line: [u8; LONGEST],
    /// Length of the present line, cut at one above `LONGEST`.
    length: usize,
    seen: u8,
    /// A line that is not empty has been seen. Empty ones before it are skipped by every parser.
    begun: bool,
    ended: bool,
}

const TRANSFER_ENCODING: &[u8] = b"transfer-encoding";
const CONTENT_LENGTH: &[u8] = b"content-length";
const LONGEST: usize = TRANSFER_ENCODING.len();

/// What a whole head has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// Not both.
    Clear,
    /// Both a length and an encoding.
    Conflicting,
}

impl Framing {
    /// Looks at what was read. Says what the head has shown once it ends; bytes after it are not
    /// looked at before [`Framing::restart`].
    pub(crate) fn read(&mut self, mut bytes: &[u8]) -> Option<Head> {
        while !self.ended && !bytes.is_empty() {
            let end = memchr::memchr(b'\n', bytes);
            let part = &bytes[..end.unwrap_or(bytes.len())];
            self.extend(part);
            let end = end?;
            bytes = &bytes[end + 1..];
            if self.line_ended() {
                let both = self.seen == 3;
                return Some(if both { Head::Conflicting } else { Head::Clear });
            }
        }
        None
    }

    /// A new head begins.
    pub(crate) fn restart(&mut self) {
        *self = Self::default();
    }

    fn extend(&mut self, part: &[u8]) {
        let free = LONGEST.saturating_sub(self.length);
        let kept = &part[..part.len().min(free)];
        self.line[self.length.min(LONGEST)..][..kept.len()].copy_from_slice(kept);
        self.length = (self.length + part.len()).min(LONGEST + 1);
    }

    /// True where the line was the empty one after a head.
    fn line_ended(&mut self) -> bool {
        let line = &self.line[..self.length.min(LONGEST)];
        let begins =
            |name: &[u8]| line.len() >= name.len() && line[..name.len()].eq_ignore_ascii_case(name);
        if begins(TRANSFER_ENCODING) {
            self.seen |= 1;
        } else if begins(CONTENT_LENGTH) {
            self.seen |= 2;
        }
        let empty = line.is_empty() || line == b"\r";
        self.ended = empty && self.begun;
        self.begun |= !empty;
        self.length = 0;
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(parts: &[&[u8]]) -> Option<Head> {
        let mut framing = Framing::default();
        parts.iter().find_map(|part| framing.read(part))
    }

    #[test]
    fn however_it_is_cut() {
        let both = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nx: 1\r\nTRANSFER-encoding: chunked\r\n\r\nbody";
        let one = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nContent-Length: 5\r\n\r\n";
        for at in 0..both.len() {
            let (a, b) = both.split_at(at);
            assert_eq!(look(&[a, b]), Some(Head::Conflicting), "{at}");
            let (a, b) = one.split_at(at.min(one.len()));
            assert_eq!(look(&[a, b]), Some(Head::Clear), "{at}");
        }
        let bytes: Vec<&[u8]> = both.chunks(1).collect();
        assert_eq!(look(&bytes), Some(Head::Conflicting));
        assert_eq!(look(&[b"GET / HTTP/1.1\n\n"]), Some(Head::Clear));
        assert_eq!(look(&[b"\r\n\n", both]), Some(Head::Conflicting));
        assert_eq!(
            look(&[b"GET / HTTP/1.1\r\nx: transfer-encoding content-length"]),
            None
        );
    }
}
