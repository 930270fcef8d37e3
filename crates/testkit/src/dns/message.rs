//! DNS messages (RFC 1035), as much of them as a test needs.
//!
//! By hand, not by the library that is under test: the two would agree on the same mistakes.

use super::{DnsKind, DnsRecord};

const TRUNCATED: u8 = 0x02;
const POINTER_TO_QUESTION: [u8; 2] = [0xC0, 12];

/// What is asked.
pub(super) struct Query<'a> {
    /// In lower case, without a dot at its end.
    pub(super) name: String,
    pub(super) kind: Option<DnsKind>,
    /// The largest UDP answer that the asker takes.
    pub(super) size: usize,
    id: &'a [u8],
    question: &'a [u8],
}

impl<'a> Query<'a> {
    /// `None` for what is no query with one question.
    pub(super) fn read(message: &'a [u8]) -> Option<Self> {
        let (header, mut rest) = message.split_at_checked(12)?;
        if header[2] & 0x80 != 0 || header[4..6] != [0, 1] {
            return None;
        }
        let mut labels = Vec::new();
        loop {
            let (length, after) = rest.split_first()?;
            let (label, after) = after.split_at_checked(usize::from(*length))?;
            rest = after;
            if label.is_empty() {
                break;
            }
            labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        }
        let (kind, rest) = rest.split_at_checked(4)?;
        let question = message.get(12..message.len() - rest.len())?;
        // EDNS: an empty name, type 41, and a size where others have their class.
        let size = match rest {
            [0, 0, 41, high, low, ..] => u16::from_be_bytes([*high, *low]),
            _ => 512,
        };
        Some(Self {
            name: labels.join("."),
            kind: DnsKind::of(u16::from_be_bytes([kind[0], kind[1]])),
            size: usize::from(size),
            id: &message[..2],
            question,
        })
    }

    /// An answer with these records, all of this TTL.
    pub(super) fn answer(&self, code: u8, ttl: u32, records: &[DnsRecord]) -> Vec<u8> {
        let count = u16::try_from(records.len()).unwrap_or(u16::MAX);
        let mut out = self.head(0, code, count);
        let mut owner = POINTER_TO_QUESTION.to_vec();
        for record in records.iter().take(count.into()) {
            let (kind, data) = encode(record);
            out.extend(&owner);
            out.extend(kind.to_be_bytes());
            out.extend(1u16.to_be_bytes());
            out.extend(ttl.to_be_bytes());
            out.extend((data.len() as u16).to_be_bytes());
            out.extend(data);
            if let DnsRecord::Cname(target) = record {
                owner = encode_name(target);
            }
        }
        out
    }

    /// "Too long for this, ask by TCP".
    pub(super) fn truncated(&self) -> Vec<u8> {
        self.head(TRUNCATED, 0, 0)
    }

    /// The right number, and then nothing that makes sense.
    pub(super) fn garbage(&self) -> Vec<u8> {
        [
            self.id,
            &[0x81, 0x80, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0xC0, 0xFF],
        ]
        .concat()
    }

    fn head(&self, flags: u8, code: u8, answers: u16) -> Vec<u8> {
        // A response to a query that desired recursion, with recursion available.
        let mut out = [self.id, &[0x81 | flags, 0x80 | code & 0x0F, 0, 1]].concat();
        out.extend(answers.to_be_bytes());
        out.extend([0; 4]);
        out.extend(self.question);
        out
    }
}

fn encode(record: &DnsRecord) -> (u16, Vec<u8>) {
    match record {
        DnsRecord::Ip(std::net::IpAddr::V4(ip)) => (1, ip.octets().to_vec()),
        DnsRecord::Ip(std::net::IpAddr::V6(ip)) => (28, ip.octets().to_vec()),
        DnsRecord::Cname(target) => (5, encode_name(target)),
        DnsRecord::Srv {
            priority,
            weight,
            port,
            target,
        } => {
            let numbers = [priority, weight, port].map(|n| n.to_be_bytes());
            (33, [numbers.concat(), encode_name(target)].concat())
        }
    }
}

fn encode_name(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let label = &label.as_bytes()[..label.len().min(63)];
        out.push(label.len() as u8);
        out.extend(label);
    }
    out.push(0);
    out
}
