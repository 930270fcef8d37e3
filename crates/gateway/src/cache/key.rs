//! What a response is kept under: the upstream, the scheme, the host and the target of the request.
//! Every part with its length before it, so that no two requests share a key; the whole is compared,
//! and its hash is keyed, so that nobody can choose two that collide.

use std::borrow::Cow;
use std::cell::RefCell;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Uri, header};

use super::rules::Rules;
use crate::client::Client;
use crate::headers::{FORWARDED_HOST, FORWARDED_PROTO};

thread_local! {
    /// A key is built on every request: in the same place.
    static KEY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Calls `with` with the key of a request.
pub(super) fn with<R>(
    rules: &Rules,
    client: &Client,
    parts: &Parts,
    authority: &HeaderValue,
    with: impl FnOnce(&[u8]) -> R,
) -> R {
    KEY.with_borrow_mut(|key| {
        key.clear();
        let host = host(parts, authority);
        let target = target(&parts.uri, &rules.ignore_query);
        write(
            key,
            &rules.upstream,
            client.site.tls.is_some(),
            host,
            &target,
        );
        for value in forwarded(client, &parts.headers).into_iter().flatten() {
            part(key, value.as_bytes());
        }
        with(key)
    })
}

/// What a trusted proxy says of where a request was sent to: believed, and sent on.
pub(super) fn forwarded<'h>(
    client: &Client,
    headers: &'h HeaderMap,
) -> [Option<&'h HeaderValue>; 2] {
    if client.trusted {
        [FORWARDED_HOST, FORWARDED_PROTO].map(|name| headers.get(name))
    } else {
        [None, None]
    }
}

/// The key of a target on a host, as `with` makes it.
pub(super) fn of(
    upstream: &str,
    tls: bool,
    (host, target): (&[u8], &str),
    forwarded: &[Option<HeaderValue>],
) -> Vec<u8> {
    let mut key = Vec::with_capacity(64);
    write(&mut key, upstream, tls, host, target);
    for value in forwarded.iter().flatten() {
        part(&mut key, value.as_bytes());
    }
    key
}

fn write(key: &mut Vec<u8>, upstream: &str, tls: bool, host: &[u8], target: &str) {
    part(key, upstream.as_bytes());
    key.push(u8::from(tls));
    part(key, host);
    let from = key.len() - host.len();
    key[from..].make_ascii_lowercase();
    part(key, target.as_bytes());
}

fn part(key: &mut Vec<u8>, bytes: &[u8]) {
    key.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    key.extend_from_slice(bytes);
}

/// Host and target that a key was made of.
pub(super) fn parts(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_upstream, rest) = take(key)?;
    let (host, rest) = take(rest.get(1..)?)?;
    Some((host, take(rest)?.0))
}

fn take(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = key.split_first_chunk()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}

/// The host as it goes to the origin.
pub(super) fn host<'p>(parts: &'p Parts, authority: &'p HeaderValue) -> &'p [u8] {
    host_of(&parts.uri, &parts.headers).unwrap_or(authority.as_bytes())
}

pub(super) fn host_of<'p>(uri: &'p Uri, headers: &'p HeaderMap) -> Option<&'p [u8]> {
    match uri.authority() {
        Some(authority) => Some(authority.as_str().as_bytes()),
        None => headers.get(header::HOST).map(HeaderValue::as_bytes),
    }
}

/// The path with what counts of the query.
pub(super) fn target<'u>(uri: &'u Uri, ignored: &[String]) -> Cow<'u, str> {
    let whole = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let Some((path, query)) = whole.split_once('?').filter(|_| !ignored.is_empty()) else {
        return Cow::Borrowed(whole);
    };
    let counts = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or(pair);
        !ignored.iter().any(|ignored| ignored == name)
    };
    if query.split('&').all(|pair| counts(&pair)) {
        return Cow::Borrowed(whole);
    }
    let left: Vec<&str> = query.split('&').filter(counts).collect();
    let mark = if left.is_empty() { "" } else { "?" };
    Cow::Owned(format!("{path}{mark}{}", left.join("&")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_ignored_is_taken_off() {
        let ignored = ["utm".to_owned(), "b".to_owned()];
        for (given, expected) in [
            ("/a?utm=1&c=2", "/a?c=2"),
            ("/a?utm", "/a"),
            ("/a?utmost=1", "/a?utmost=1"),
            ("/a?c=utm&b=1&c", "/a?c=utm&c"),
            ("/a?", "/a?"),
            ("/a", "/a"),
            // Spelt otherwise it counts: kept apart for nothing, which harms nobody.
            ("/a?%75tm=1", "/a?%75tm=1"),
        ] {
            let uri: Uri = given.parse().unwrap();
            assert_eq!(target(&uri, &ignored), expected);
        }
    }

    proptest! {
        #[test]
        fn keys_tell_apart(
            a in ("[a-c]{0,2}", any::<bool>(), "[a-c]{0,2}", "[a-c/?]{0,2}"),
            b in ("[a-c]{0,2}", any::<bool>(), "[a-c]{0,2}", "[a-c/?]{0,2}"),
        ) {
            let key = |of: &(String, bool, String, String)| {
                super::of(&of.0, of.1, (of.2.as_bytes(), &of.3), &[])
            };
            prop_assert_eq!(a == b, key(&a) == key(&b));
            let key = key(&a);
            prop_assert_eq!(parts(&key), Some((a.2.as_bytes(), a.3.as_bytes())));
        }

        #[test]
        fn any_bytes_may_be_taken_for_a_key(key in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = parts(&key);
        }
    }
}
