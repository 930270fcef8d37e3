//! May an answer be kept, and for how long (RFC 9111, 3 and 4.2).

use std::time::Duration;

use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use seawall_policy::Tick;

use super::date::parse_date;
use super::directives::{ResponseDirectives, members, number};
use super::fresh::Kept;
use super::vary::Vary;

/// A guessed life is this part of the time since the last modification (RFC 9111, 4.2.2).
const GUESSED_PART: u64 = 10;

/// What an operator says beside the headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The life of an answer that says nothing of it. `None`: guessed from its last modification.
    pub default_life: Option<Duration>,
    /// The longest life that is guessed.
    pub longest_guess: Duration,
    /// How long a stale answer that says nothing of it is served while another is fetched.
    pub stale_while_revalidate: Duration,
    /// How long a stale answer that says nothing of it is served where the origin fails.
    pub stale_if_error: Duration,
}

impl Default for Policy {
    /// As headers say; a guess is an hour at most; nothing stale that does not say so itself.
    fn default() -> Self {
        Self {
            default_life: None,
            longest_guess: Duration::from_secs(3_600),
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
        }
    }
}

/// The request that an answer is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// Its method.
    pub method: &'a Method,
    /// It says `no-store`.
    pub no_store: bool,
    /// It has `Authorization`.
    pub authorization: bool,
    /// What else it has that tells who asks: a cookie, a tenant. The RFC knows of no such thing.
    pub known_by: &'a [HeaderName],
}

impl Asked<'_> {
    /// Nothing tells who asks.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        !self.authorization && self.known_by.is_empty()
    }

    /// Whether an answer may go to more than who asked for it, or come from another's question: it
    /// is for everyone, or nobody is known, or it is kept apart by all that they are known by.
    #[must_use]
    pub fn may_share(&self, for_everyone: bool, vary: &Vary) -> bool {
        let apart = || self.known_by.iter().all(|name| vary.has(name));
        for_everyone || (!self.authorization && apart())
    }
}

/// When an answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchanged {
    /// Now, by the clock that ages go by.
    pub now: Tick,
    /// Now, in seconds since 1970, to set beside the origin's dates.
    pub date: u64,
    /// How long the answer took.
    pub took: Duration,
}

/// Why an answer is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unfit {
    /// The request's method is not `GET`.
    Method,
    /// A part, a confirmation, or a status without a life of its own.
    Status,
    /// The request or the answer says `no-store`.
    NoStore,
    /// The answer says `private`.
    Private,
    /// The answer sets a cookie.
    SetCookie,
    /// Who asked has shown who they are, and the answer does not say that it is for everyone.
    Known,
    /// It varies by everything, or by more than can be kept apart.
    Vary,
    /// It is of no use: stale at once, and nothing to confirm it by.
    Lifeless,
}

/// Judges the answer to a request.
///
/// # Errors
/// Why it is not to be kept.
///
/// ```
/// use std::time::Duration;
/// use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
/// use seawall_cache::http::{Asked, Exchanged, Policy, Unfit, judge};
/// use seawall_policy::Tick;
///
/// let cookie = [header::COOKIE];
/// let asked = Asked { method: &Method::GET, no_store: false, authorization: false, known_by: &cookie };
/// let when = Exchanged { now: Tick::ZERO, date: 1_700_000_000, took: Duration::ZERO };
/// let mut headers = HeaderMap::new();
/// headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
/// let policy = Policy::default();
/// assert_eq!(judge(&asked, StatusCode::OK, &headers, when, &policy), Err(Unfit::Known));
///
/// headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=60"));
/// let kept = judge(&asked, StatusCode::OK, &headers, when, &policy).unwrap();
/// assert_eq!(kept.life, Duration::from_secs(60));
/// ```
pub fn judge(
    asked: &Asked<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    when: Exchanged,
    policy: &Policy,
) -> Result<Kept, Unfit> {
    let says = ResponseDirectives::read(headers);
    may_be_kept(asked, status, headers, &says)?;
    let life = life(status, headers, &says, when, policy, asked.is_anonymous())?;
    let told = |own: Option<u64>, other: Duration| own.map_or(other, Duration::from_secs);
    // A shared cache may not serve stale what has `s-maxage` (RFC 9111, 4.2.4), unless the same
    // answer says for how long it may.
    let default = |ours| {
        if says.s_maxage.is_some() {
            Duration::ZERO
        } else {
            ours
        }
    };
    let kept = Kept {
        at: when.now,
        age: age(headers, when),
        life,
        while_revalidate: told(
            says.stale_while_revalidate,
            default(policy.stale_while_revalidate),
        ),
        if_error: told(says.stale_if_error, default(policy.stale_if_error)),
        confirm: says.no_cache,
        never_stale: says.must_revalidate,
        max_stale: says.s_maxage.is_none(),
        for_everyone: is_for_everyone(&says),
    };
    let has_validator =
        headers.contains_key(header::ETAG) || headers.contains_key(header::LAST_MODIFIED);
    let dead = !kept.is_fresh(when.now)
        && (kept.confirm
            || kept.never_stale
            || (kept.while_revalidate.is_zero() && kept.if_error.is_zero()));
    if dead && !has_validator {
        return Err(Unfit::Lifeless);
    }
    Ok(kept)
}

fn may_be_kept(
    asked: &Asked<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    says: &ResponseDirectives,
) -> Result<(), Unfit> {
    if asked.method != Method::GET {
        return Err(Unfit::Method);
    }
    // What is understood may be kept even beside `no-store` (RFC 9111, 5.2.2.3).
    let no_store = says.no_store && !says.must_understand;
    if asked.no_store || no_store {
        return Err(Unfit::NoStore);
    }
    if says.private {
        return Err(Unfit::Private);
    }
    if !is_understood(status) {
        return Err(Unfit::Status);
    }
    if headers.contains_key(header::SET_COOKIE) {
        return Err(Unfit::SetCookie);
    }
    let vary = Vary::read(headers).ok_or(Unfit::Vary)?;
    // RFC 9111, 3.5, but that `must-revalidate` is not enough.
    if asked.may_share(is_for_everyone(says), &vary) {
        Ok(())
    } else {
        Err(Unfit::Known)
    }
}

fn is_for_everyone(says: &ResponseDirectives) -> bool {
    says.public || says.s_maxage.is_some()
}

/// What we know to serve again: whole answers with a meaning of their own.
fn is_understood(status: StatusCode) -> bool {
    is_cacheable(status) || matches!(status.as_u16(), 302 | 303 | 307)
}

/// What may be kept without saying so (RFC 9110, 15.1).
fn is_cacheable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// `s-maxage`, `max-age`, `Expires`, the operator's, a guess: the first there is.
fn life(
    status: StatusCode,
    headers: &HeaderMap,
    says: &ResponseDirectives,
    when: Exchanged,
    policy: &Policy,
    anonymous: bool,
) -> Result<Duration, Unfit> {
    if let Some(told) = says.s_maxage.or(says.max_age) {
        return Ok(Duration::from_secs(told));
    }
    let date = date(headers).unwrap_or(when.date);
    let mut expires = headers.get_all(header::EXPIRES).iter().peekable();
    if !says.targeted && expires.peek().is_some() {
        // What cannot be read has expired.
        let until = expires.map(|value| parse_date(value).unwrap_or(0)).min();
        return Ok(Duration::from_secs(until.unwrap_or(0).saturating_sub(date)));
    }
    if !is_cacheable(status) && !says.public {
        return Err(Unfit::Status);
    }
    // Nobody said that it is to be kept: what someone was shown who is known may be theirs.
    if !anonymous || says.no_cache {
        return Ok(Duration::ZERO);
    }
    if let Some(ours) = policy.default_life {
        return Ok(ours);
    }
    let modified = headers.get(header::LAST_MODIFIED).and_then(parse_date);
    let unchanged = modified.map_or(0, |modified| date.saturating_sub(modified));
    let guess = Duration::from_secs(unchanged / GUESSED_PART);
    Ok(guess.min(policy.longest_guess))
}

/// The oldest of several.
fn date(headers: &HeaderMap) -> Option<u64> {
    let dates = headers.get_all(header::DATE).iter();
    dates.filter_map(parse_date).min()
}

/// How old it is on arrival (RFC 9111, 4.2.3): what others say, and the time it took; or what its
/// date says, if that is more.
fn age(headers: &HeaderMap, when: Exchanged) -> Duration {
    let apparent = date(headers).map_or(0, |date| when.date.saturating_sub(date));
    let told = headers.get(header::AGE).and_then(|value| {
        let first = members(value).next()?;
        number(first)
    });
    let corrected = Duration::from_secs(told.unwrap_or(0)).saturating_add(when.took);
    corrected.max(Duration::from_secs(apparent))
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
