//! Slots of a Cluster: which one a key is in, and who has it.

use std::sync::Arc;

use redis::{Arg, Cmd, Value};

const SLOTS: usize = 16_384;
/// Ranges of slots that are told apart where account is kept of what fails.
const SHARDS: u16 = 64;

/// Who has which slot.
#[derive(Debug)]
pub(super) struct Slots {
    masters: Vec<Arc<str>>,
    /// By slot: an index into `masters`, or past its end for a slot that nobody has.
    owners: Box<[u16]>,
}

impl Slots {
    /// Reads what `asked` has answered to `CLUSTER SLOTS`. `None`: it is no such answer.
    pub(super) fn parse(answer: &Value, asked: &str) -> Option<Self> {
        let Value::Array(ranges) = answer else {
            return None;
        };
        let mut masters: Vec<Arc<str>> = Vec::new();
        let mut owners = vec![u16::MAX; SLOTS].into_boxed_slice();
        for range in ranges {
            let Value::Array(parts) = range else {
                return None;
            };
            let [
                Value::Int(first),
                Value::Int(last),
                Value::Array(master),
                ..,
            ] = parts.as_slice()
            else {
                return None;
            };
            let (first, last) = (usize::try_from(*first).ok()?, usize::try_from(*last).ok()?);
            let Some(name) = name(master, asked)? else {
                continue;
            };
            let index = masters
                .iter()
                .position(|known| **known == *name)
                .unwrap_or_else(|| {
                    masters.push(name.into());
                    masters.len() - 1
                });
            owners
                .get_mut(first..=last)?
                .fill(u16::try_from(index).ok()?);
        }
        Some(Self { masters, owners })
    }

    pub(super) fn owner(&self, slot: u16) -> Option<&Arc<str>> {
        let index = *self.owners.get(usize::from(slot))?;
        self.masters.get(usize::from(index))
    }

    pub(super) fn masters(&self) -> impl Iterator<Item = &Arc<str>> {
        self.masters.iter()
    }
}

/// `host:port`; `Some(None)` for a server whose address is not known yet. No host means that of who
/// was asked.
fn name(server: &[Value], asked: &str) -> Option<Option<String>> {
    let [host, Value::Int(port), ..] = server else {
        return None;
    };
    let host = match host {
        Value::BulkString(host) => std::str::from_utf8(host).ok()?,
        Value::Nil => "",
        _ => return None,
    };
    Some(match host {
        "?" => None,
        "" => asked
            .rsplit_once(':')
            .map(|(host, _)| format!("{host}:{port}")),
        host => Some(format!("{host}:{port}")),
    })
}

/// Which slot a key is in: CRC-16 (XMODEM) of what is in its first braces, or of all of it, as the
/// Cluster's specification has it.
pub(super) fn slot_of(key: &[u8]) -> u16 {
    let tag = || {
        let open = key.iter().position(|&byte| byte == b'{')? + 1;
        let length = key[open..].iter().position(|&byte| byte == b'}')?;
        (length > 0).then(|| &key[open..open + length])
    };
    crc16(tag().unwrap_or(key)) % SLOTS as u16
}

/// The range of slots a key is in.
pub(super) fn shard_of(key: &[u8]) -> u16 {
    slot_of(key) / (SLOTS as u16 / SHARDS)
}

fn crc16(bytes: &[u8]) -> u16 {
    const TABLE: [u16; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut crc = (index as u16) << 8;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 0x8000 == 0 {
                    crc << 1
                } else {
                    (crc << 1) ^ 0x1021
                };
                bit += 1;
            }
            table[index] = crc;
            index += 1;
        }
        table
    };
    bytes.iter().fold(0, |crc: u16, &byte| {
        (crc << 8) ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)]
    })
}

/// The key that says where a command goes: its first argument; of a script, the first of its keys. A
/// command without a key goes anywhere.
pub(super) fn key_of(cmd: &Cmd) -> &[u8] {
    let argument = |index| match cmd.args_iter().nth(index) {
        Some(Arg::Simple(bytes)) => bytes,
        _ => b"".as_slice(),
    };
    match argument(0) {
        b"EVALSHA" | b"EVAL" => argument(3),
        _ => argument(1),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        // As `CLUSTER KEYSLOT` has them.
        for (key, slot) in [
            ("foo", 12_182),
            ("", 0),
            ("{user1000}.following", 3_443),
            ("user1000", 3_443),
            ("foo{}{bar}", 8_363),
            ("foo{{bar}}zap", 4_015),
            ("foo{bar}{zap}", 5_061),
        ] {
            assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
        }
        assert_eq!(shard_of(b"foo"), 12_182 / 256);
    }

    #[test]
    fn a_map_is_read() {
        let text = "*3\r\n\
            *3\r\n:0\r\n:9\r\n*2\r\n$1\r\na\r\n:1\r\n\
            *4\r\n:10\r\n:10\r\n*2\r\n$0\r\n\r\n:2\r\n*2\r\n$1\r\nr\r\n:1\r\n\
            *3\r\n:11\r\n:16383\r\n*2\r\n$1\r\n?\r\n:1\r\n";
        let value = redis::parse_redis_value(text.as_bytes()).expect("a value");
        let slots = Slots::parse(&value, "me:7").expect("a map");
        let owner = |slot| slots.owner(slot).map(|name| &**name);
        assert_eq!([owner(0), owner(9)], [Some("a:1"); 2]);
        assert_eq!([owner(10), owner(11)], [Some("me:2"), None]);
        assert_eq!([owner(16_383), owner(u16::MAX)], [None; 2]);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            (-2_i64..17_000).prop_map(Value::Int),
            any::<i64>().prop_map(Value::Int),
            any::<Vec<u8>>().prop_map(Value::BulkString),
            Just(Value::Nil),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop::collection::vec(inner, 0..4).prop_map(Value::Array)
        })
    }

    proptest! {
        #[test]
        fn whatever_is_answered_is_no_crash(value in any_value(), slot in any::<u16>()) {
            if let Some(slots) = Slots::parse(&value, "me:7") {
                let _ = slots.owner(slot);
            }
        }
    }
}
