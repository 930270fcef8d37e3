//! Work already paid for, as a signed mark.
//!
//! A task that makes four calls and has three of them answered is worth finishing: shedding the
//! fourth wastes the three. Such calls are exempt from admission inside its budget, so the claim
//! is worth forging, and therefore it is signed. The mark is made where a task enters, services
//! copy it along like `traceparent`, and it is looked at **only under overload**: at other times
//! the exemption has no effect and a MAC would be wasted.
//!
//! On the wire: `key id "." expiry "." criticality "." tenant "." task "." MAC`, the expiry in Unix
//! seconds, criticality as its number, tenant (the [hash](super::tenant_hash)) and task in
//! hexadecimal, the MAC as the hexadecimal HMAC-SHA256 (RFC 2104) of everything before the last
//! dot. Key ids let keys be changed: sign with the first, accept all.
//!
//! A mark that is replayed still works until it expires, but only for [`Ledger`]'s number of calls
//! per task.

use std::collections::HashMap;
use std::fmt::Write;
use std::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderValue;
use parking_lot::Mutex;
use seawall_policy::{Call, Criticality};
use sha2::Sha256;

/// The longest mark that is looked at, in bytes.
const MAX_LEN: usize = 192;

/// What a verified mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnderWay {
    /// Not believed from this moment on, in seconds of Unix time. Replicas share no other clock;
    /// one that runs ahead by more than a mark's life refuses it, which costs the exemption only.
    pub expires: u64,
    /// The criticality the task began with.
    pub criticality: Criticality,
    /// The tenant's hash, 0 for none.
    pub tenant: u64,
    /// Which task: random, made where it began.
    pub task: u128,
}

impl UnderWay {
    /// Marks `call`; its criticality and tenant become those that were signed.
    pub fn apply(&self, call: &mut Call) {
        call.under_way = true;
        call.criticality = self.criticality;
        call.tenant = self.tenant;
    }
}

/// Why a mark is not believed. The call goes on as if it carried none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnderWayError {
    /// Not of the form.
    #[error("not of the form `key.expiry.criticality.tenant.task.mac`")]
    Malformed,
    /// Signed with a key we do not have: give every replica the same `under_way.keys`.
    #[error("signed with an unknown key; replicas need the same `under_way.keys`")]
    UnknownKey,
    /// The MAC is wrong: forged, or one key id stands for two keys.
    #[error("the signature is wrong: forged, or one key id stands for two keys")]
    Forged,
    /// Its time is up.
    #[error("expired")]
    Expired,
    /// Its task has made as many calls as one may.
    #[error("the task has made as many exempt calls as one may")]
    TooManyCalls,
    /// The ledger has no place for another task. None is free before one expires.
    #[error("more tasks are under way than the ledger holds")]
    LedgerFull,
}

/// A key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Key ids stand in the mark, between dots.
    #[error("key id `{0}`: 1 to 16 letters, digits, `-` or `_`")]
    Id(String),
    /// Too easily guessed.
    #[error("key `{0}` has {1} bytes, and needs at least 32 (`openssl rand -hex 32`)")]
    Short(String, usize),
    /// Two keys of one id.
    #[error("key id `{0}` is there twice")]
    Duplicate(String),
}

/// The keys that marks are made and verified with. Every replica needs the same.
#[derive(Clone)]
pub struct UnderWayKeys(Vec<(String, Hmac<Sha256>)>);

impl std::fmt::Debug for UnderWayKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(id, _)| id))
            .finish()
    }
}

impl UnderWayKeys {
    /// From pairs of id and secret. `None` where there are none: the feature is then off.
    ///
    /// # Errors
    /// An id that is not 1 to 16 of `A-Z a-z 0-9 - _`, or is there twice; a secret below 32 bytes.
    pub fn new<'a>(
        keys: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Option<Self>, KeyError> {
        let mut list: Vec<(String, Hmac<Sha256>)> = Vec::new();
        for (id, secret) in keys {
            let letters = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            if id.is_empty() || id.len() > 16 || !id.bytes().all(letters) {
                return Err(KeyError::Id(id.to_owned()));
            }
            if list.iter().any(|(known, _)| known == id) {
                return Err(KeyError::Duplicate(id.to_owned()));
            }
            match Hmac::new_from_slice(secret) {
                Ok(mac) if secret.len() >= 32 => list.push((id.to_owned(), mac)),
                _ => return Err(KeyError::Short(id.to_owned(), secret.len())),
            }
        }
        Ok((!list.is_empty()).then_some(Self(list)))
    }

    /// Makes a mark with the first key. Costs a MAC, under a microsecond or two.
    #[must_use]
    pub fn sign(&self, mark: &UnderWay) -> HeaderValue {
        let Some((id, mac)) = self.0.first() else {
            return HeaderValue::from_static("");
        };
        let mut text = String::with_capacity(MAX_LEN);
        let UnderWay {
            expires,
            criticality,
            tenant,
            task,
        } = mark;
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "{id}.{expires}.{}.{tenant:x}.{task:x}",
            *criticality as u8
        );
        let mac = mac
            .clone()
            .chain_update(text.as_bytes())
            .finalize()
            .into_bytes();
        text.push('.');
        for byte in mac {
            let _ = write!(text, "{byte:02x}");
        }
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// Verifies a mark and counts the call in `ledger`. Only to be called under overload.
    ///
    /// `now` is Unix time in seconds. The comparison takes the same time wherever the first
    /// difference is; a mark that is too long or of an unknown key is refused before any MAC.
    ///
    /// # Errors
    /// What is wrong with it; the call is then an ordinary one.
    pub fn verify(
        &self,
        value: &HeaderValue,
        ledger: &Ledger,
        now: u64,
    ) -> Result<UnderWay, UnderWayError> {
        let mark = self.read(value, now)?;
        ledger.count(&mark, now)?;
        Ok(mark)
    }

    fn read(&self, value: &HeaderValue, now: u64) -> Result<UnderWay, UnderWayError> {
        use UnderWayError::Malformed;
        let text = value
            .to_str()
            .ok()
            .filter(|t| t.len() <= MAX_LEN)
            .ok_or(Malformed)?;
        let (signed, mac) = text.rsplit_once('.').ok_or(Malformed)?;
        let mac = unhex(mac).ok_or(Malformed)?;
        let id = signed.split('.').next().unwrap_or_default();
        let (_, key) = self
            .0
            .iter()
            .find(|(known, _)| known == id)
            .ok_or(UnderWayError::UnknownKey)?;
        key.clone()
            .chain_update(signed.as_bytes())
            .verify_slice(&mac)
            .map_err(|_| UnderWayError::Forged)?;
        let mark = signed.parse::<UnderWay>()?;
        if mark.expires <= now {
            Err(UnderWayError::Expired)
        } else {
            Ok(mark)
        }
    }
}

impl FromStr for UnderWay {
    type Err = UnderWayError;

    /// Reads the part that is signed.
    fn from_str(signed: &str) -> Result<Self, UnderWayError> {
        let fields = || {
            let mut parts = signed.split('.').skip(1);
            let mark = Self {
                expires: parts.next()?.parse().ok()?,
                criticality: *Criticality::ALL.get(parts.next()?.parse::<usize>().ok()?)?,
                tenant: u64::from_str_radix(parts.next()?, 16).ok()?,
                task: u128::from_str_radix(parts.next()?, 16).ok()?,
            };
            parts.next().is_none().then_some(mark)
        };
        fields().ok_or(UnderWayError::Malformed)
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let text: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |c: u8| char::from(c).to_digit(16).map(|d| d as u8);
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// How many exempt calls each task has made here. Bounded: a mark that is copied a thousand times
/// buys [`Ledger::calls`] calls per replica, not a thousand.
#[derive(Debug)]
pub struct Ledger {
    shards: [Mutex<Tasks>; SHARDS],
    tasks_per_shard: usize,
    calls: u32,
}

const SHARDS: usize = 16;

#[derive(Debug, Default)]
struct Tasks {
    seen: HashMap<u128, Task>,
    /// Nothing in `seen` expires before this, so a full table is not searched in vain.
    first_expiry: u64,
}

#[derive(Debug)]
struct Task {
    expires: u64,
    calls: u32,
}

impl Default for Ledger {
    /// 65,536 tasks (about 4 MiB when full), 64 calls each.
    fn default() -> Self {
        Self::new(65_536, 64)
    }
}

impl Ledger {
    /// Room for about `tasks` tasks of `calls` exempt calls each; at least 16 and 1.
    #[must_use]
    pub fn new(tasks: usize, calls: u32) -> Self {
        Self {
            shards: Default::default(),
            tasks_per_shard: tasks.div_ceil(SHARDS).max(1),
            calls: calls.max(1),
        }
    }

    /// Exempt calls that a task may make.
    #[must_use]
    pub const fn calls(&self) -> u32 {
        self.calls
    }

    fn count(&self, mark: &UnderWay, now: u64) -> Result<(), UnderWayError> {
        let mut tasks = self.shards[(mark.task % SHARDS as u128) as usize].lock();
        if let Some(task) = tasks.seen.get_mut(&mark.task) {
            // One task may be marked again with a later expiry; its count goes on.
            task.expires = task.expires.max(mark.expires);
            if task.calls >= self.calls {
                return Err(UnderWayError::TooManyCalls);
            }
            task.calls += 1;
            return Ok(());
        }
        if tasks.seen.len() >= self.tasks_per_shard {
            tasks.expire(now);
            if tasks.seen.len() >= self.tasks_per_shard {
                return Err(UnderWayError::LedgerFull);
            }
        }
        tasks.first_expiry = if tasks.seen.is_empty() {
            mark.expires
        } else {
            tasks.first_expiry.min(mark.expires)
        };
        tasks.seen.insert(
            mark.task,
            Task {
                expires: mark.expires,
                calls: 1,
            },
        );
        Ok(())
    }
}

impl Tasks {
    fn expire(&mut self, now: u64) {
        if self.first_expiry > now {
            return;
        }
        self.seen.retain(|_, task| task.expires > now);
        self.first_expiry = self
            .seen
            .values()
            .map(|task| task.expires)
            .min()
            .unwrap_or(u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
    const NOW: u64 = 1_800_000_000;
    const MARK: UnderWay = UnderWay {
        expires: NOW + 30,
        criticality: Criticality::SheddablePlus,
        tenant: 77,
        task: 0xfeed,
    };

    fn keys(ids: &[&str]) -> UnderWayKeys {
        UnderWayKeys::new(ids.iter().map(|id| (*id, SECRET)))
            .unwrap()
            .unwrap()
    }

    #[test]
    fn what_is_signed_is_believed() {
        let (keys, ledger) = (keys(&["a"]), Ledger::default());
        let mark = keys.verify(&keys.sign(&MARK), &ledger, NOW).unwrap();
        assert_eq!(mark, MARK);
        let mut call = Call::default();
        mark.apply(&mut call);
        assert_eq!(
            (call.under_way, call.criticality, call.tenant),
            (true, Criticality::SheddablePlus, 77)
        );
    }

    #[test]
    fn keys_can_be_changed_without_a_gap() {
        let (old, both) = (keys(&["old"]), keys(&["new", "old"]));
        assert!(
            both.verify(&old.sign(&MARK), &Ledger::default(), NOW)
                .is_ok()
        );
        assert_eq!(
            old.verify(&both.sign(&MARK), &Ledger::default(), NOW),
            Err(UnderWayError::UnknownKey)
        );
    }

    #[test]
    fn forged_ones_are_not() {
        let (keys, ledger) = (keys(&["a"]), Ledger::default());
        let text = keys.sign(&MARK).to_str().unwrap().to_owned();
        // Any one byte changed, in the text or in the MAC.
        for at in 0..text.len() {
            let mut forged = text.clone().into_bytes();
            forged[at] = if forged[at] == b'1' { b'2' } else { b'1' };
            let forged = HeaderValue::from_bytes(&forged).unwrap();
            assert!(keys.verify(&forged, &ledger, NOW).is_err(), "byte {at}");
        }
        let other = UnderWayKeys::new([("a", &[7u8; 32][..])]).unwrap().unwrap();
        assert_eq!(
            keys.verify(&other.sign(&MARK), &ledger, NOW),
            Err(UnderWayError::Forged)
        );
    }

    #[test]
    fn its_time_ends() {
        let (keys, ledger) = (keys(&["a"]), Ledger::default());
        let value = keys.sign(&MARK);
        assert!(keys.verify(&value, &ledger, NOW + 29).is_ok());
        assert_eq!(
            keys.verify(&value, &ledger, NOW + 30),
            Err(UnderWayError::Expired)
        );
    }

    #[test]
    fn a_replay_buys_a_stated_number_of_calls() {
        let (keys, ledger) = (keys(&["a"]), Ledger::new(100, 3));
        let value = keys.sign(&MARK);
        let good = (0..10)
            .filter(|_| keys.verify(&value, &ledger, NOW).is_ok())
            .count();
        assert_eq!(good, 3);
        let later = keys.sign(&UnderWay {
            expires: NOW + 300,
            ..MARK
        });
        assert_eq!(
            keys.verify(&later, &ledger, NOW),
            Err(UnderWayError::TooManyCalls)
        );
    }

    #[test]
    fn the_ledger_stays_bounded_and_recovers() {
        let ledger = Ledger::new(32, 3);
        let mark = |task: u128, expires| UnderWay {
            task,
            expires,
            ..MARK
        };
        let counted = (0..1_000)
            .filter(|t| ledger.count(&mark(*t, NOW + 5), NOW).is_ok())
            .count();
        assert_eq!(counted, 32);
        assert_eq!(
            ledger.count(&mark(5_000, NOW + 50), NOW + 4),
            Err(UnderWayError::LedgerFull)
        );
        let counted = (2_000..3_000)
            .filter(|t| ledger.count(&mark(*t, NOW + 50), NOW + 5).is_ok())
            .count();
        assert_eq!(counted, 32);
    }

    #[test]
    fn bad_keys_are_refused() {
        assert!(UnderWayKeys::new([]).unwrap().is_none());
        for id in ["", "a.b", "seventeen-letters", "ä"] {
            assert_eq!(
                UnderWayKeys::new([(id, SECRET)]).unwrap_err(),
                KeyError::Id(id.into())
            );
        }
        assert_eq!(
            UnderWayKeys::new([("a", &SECRET[..31])]).unwrap_err(),
            KeyError::Short("a".into(), 31)
        );
        assert_eq!(
            UnderWayKeys::new([("a", SECRET), ("a", SECRET)]).unwrap_err(),
            KeyError::Duplicate("a".into())
        );
        assert_eq!(
            format!("{:?}", keys(&["a", "b"])),
            r#"["a", "b"]"#,
            "no secret in a log"
        );
    }

    proptest! {
        #[test]
        fn hostile_marks_do_not_panic(text in "(a|b)?[.0-9a-f]{0,200}") {
            let keys = keys(&["a"]);
            if let Ok(value) = HeaderValue::from_str(&text) {
                prop_assert!(keys.verify(&value, &Ledger::default(), NOW).is_err());
            }
        }
    }
}
