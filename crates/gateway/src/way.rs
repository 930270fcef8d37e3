//! Which of an upstream's hosts a call may go to: its own, its replicas, or the reserve.

use std::net::IpAddr;
use std::sync::Arc;

use http::header;
use http::request::Parts;
use seawall::clock::Clock;
use seawall::config::HashOn;
use seawall_policy::fallback::{self, Gutter};
use seawall_policy::{Call, Outcome, Rejection, Tick};

use crate::core::mix;
use crate::fleet::Fleet;
use crate::origin::{Origin, Reserve};
use crate::writers::{self, Write};

/// The hosts for one call.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) fleet: Arc<Fleet>,
    /// What a host is chosen by, where it is by a hash and the call has what is hashed.
    pub(crate) hash: Option<u64>,
    /// The reserve: one attempt, whatever comes of it.
    pub(crate) once: bool,
    /// The replicas, whose failures are not the upstream's.
    pub(crate) replica: bool,
    pub(crate) side: Side,
    /// The write that the call is, where that matters to later reads.
    pub(crate) write: Option<Write>,
}

/// Which side of the gutter a call is on. Dropped before its end was told, its caller has left.
#[derive(Debug, Default)]
pub(crate) struct Side(Option<(Arc<Gutter>, fallback::Pass)>);

impl Side {
    pub(crate) fn finish(mut self, outcome: Outcome, now: Tick) {
        if let Some((gutter, pass)) = self.0.take() {
            gutter.record(pass, outcome, now);
        }
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        if let Some((gutter, pass)) = self.0.take() {
            // What is ignored needs no time.
            gutter.record(pass, Outcome::Ignored, Tick::ZERO);
        }
    }
}

impl Way {
    /// The way of a call that arrives `now`.
    ///
    /// # Errors
    /// The upstream fails, and its reserve has all the calls that it bears.
    pub(crate) fn new(
        origin: &Origin,
        (parts, upgrade): (&Parts, bool),
        call: &Call,
        ip: IpAddr,
        (now, clock): (Tick, &Clock),
        random: u64,
    ) -> Result<Self, Rejection> {
        let hash = origin.hash_on.as_ref();
        let hash = hash.and_then(|on| hashed(on, parts, ip));
        let write = match read_or_write(origin, (parts, upgrade), call, ip, now, clock) {
            Kind::Replica(fleet) => {
                return Ok(Self {
                    replica: true,
                    ..Self::to(fleet, hash)
                });
            }
            Kind::Read => None,
            Kind::Write(write) => Some(write),
        };
        let main = Self::main(origin, hash, now, random)?;
        Ok(Self { write, ..main })
    }

    /// To the upstream's own hosts, or the reserve while those fail.
    fn main(origin: &Origin, hash: Option<u64>, now: Tick, random: u64) -> Result<Self, Rejection> {
        let main = Self::to(origin.hosts.fleet.clone(), hash);
        match &origin.reserve {
            Some(reserve) => main.beside(reserve, now, random),
            None => Ok(main),
        }
    }

    /// To these hosts, and nothing more to it.
    fn to(fleet: Arc<Fleet>, hash: Option<u64>) -> Self {
        Self {
            fleet,
            hash,
            once: false,
            replica: false,
            side: Side::default(),
            write: None,
        }
    }

    /// This way, or that to the reserve.
    fn beside(self, reserve: &Reserve, now: Tick, random: u64) -> Result<Self, Rejection> {
        let pass = reserve.gutter.pass(now, random)?;
        let once = pass.way() == fallback::Way::Gutter;
        let fleet = if once {
            reserve.hosts.fleet.clone()
        } else {
            self.fleet
        };
        Ok(Self {
            once,
            side: Side(Some((reserve.gutter.clone(), pass))),
            ..Self::to(fleet, self.hash)
        })
    }

    /// Nobody can be asked this way: the one to take in its stead. That of replicas is to the hosts
    /// that hold what they copy.
    pub(crate) fn instead(&self, origin: &Origin, now: Tick, random: u64) -> Option<Self> {
        if self.replica {
            Self::main(origin, self.hash, now, random).ok()
        } else {
            self.to_reserve(origin, now, random)
        }
    }

    /// The upstream is out, as its breaker or an empty list of hosts tells: the way to its reserve,
    /// where it has one that bears another call.
    fn to_reserve(&self, origin: &Origin, now: Tick, random: u64) -> Option<Self> {
        let reserve = origin.reserve.as_ref().filter(|_| !self.once)?;
        reserve.gutter.enter(now);
        let main = Self::to(self.fleet.clone(), self.hash);
        let way = main.beside(reserve, now, random).ok()?;
        way.once.then_some(way)
    }
}

/// What a call is to an upstream with replicas.
enum Kind {
    /// A read by someone who has not written lately.
    Replica(Arc<Fleet>),
    /// Any other, or one to an upstream without replicas.
    Read,
    Write(Write),
}

fn read_or_write(
    origin: &Origin,
    (parts, upgrade): (&Parts, bool),
    call: &Call,
    ip: IpAddr,
    now: Tick,
    clock: &Clock,
) -> Kind {
    let Some(replicas) = &origin.replicas else {
        return Kind::Read;
    };
    let place = replicas.writers.place(call.tenant, &parts.headers, ip);
    // What comes through a tunnel may write.
    if upgrade || !writers::reads(&parts.method) {
        return Kind::Write(Write {
            writers: replicas.writers.clone(),
            place,
            remembered: replicas.remembered,
            clock: clock.clone(),
            refused: false,
        });
    }
    if replicas.writers.has_written(place, now) {
        Kind::Read
    } else {
        Kind::Replica(replicas.hosts.fleet.clone())
    }
}

/// `None` where the call has nothing of the kind.
fn hashed(on: &HashOn, parts: &Parts, ip: IpAddr) -> Option<u64> {
    let of = |bytes: &[u8]| Some(hash(bytes));
    match on {
        HashOn::Client => match ip {
            IpAddr::V4(ip) => of(&ip.octets()),
            IpAddr::V6(ip) => of(&ip.octets()),
        },
        HashOn::Path => of(parts.uri.path().as_bytes()),
        HashOn::Header(name) => of(parts.headers.get(name)?.as_bytes()),
        HashOn::Cookie(name) => {
            let mut cookies = parts.headers.get_all(header::COOKIE).iter();
            cookies.find_map(|line| of(cookie(line.as_bytes(), name.as_bytes())?))
        }
    }
}

fn cookie<'c>(line: &'c [u8], name: &[u8]) -> Option<&'c [u8]> {
    line.split(|byte| *byte == b';').find_map(|pair| {
        let value = pair.trim_ascii().strip_prefix(name)?;
        value.strip_prefix(b"=")
    })
}

/// The same on every gateway and in every version, so that all send a key to the same host (FNV-1a
/// with SplitMix64's finaliser).
fn hash(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
    });
    mix(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::get("/a?b");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn what_is_hashed() {
        let ip: IpAddr = [10, 0, 0, 1].into();
        let of = |on: &str, headers: &[(&str, &str)]| {
            let on: HashOn = on.parse().unwrap();
            hashed(&on, &parts(headers), ip)
        };
        assert_eq!(of("header:x-user", &[("x-user", "7")]), Some(hash(b"7")));
        assert_eq!(of("header:x-user", &[]), None);
        let cookies = [("cookie", "a=1; session=xyz; b=2")];
        assert_eq!(of("cookie:session", &cookies), Some(hash(b"xyz")));
        assert_eq!(of("cookie:sess", &cookies), None);
        assert_eq!(of("path", &[]), Some(hash(b"/a")));
        assert_eq!(of("client", &[]), Some(hash(&[10, 0, 0, 1])));
        assert_eq!(hash(b""), hash(b""), "and never another");
    }
}
