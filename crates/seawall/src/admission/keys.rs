//! Interned routes: what the gate learns latencies per.
//!
//! A route is a method and a path whose ids are collapsed, `GET /users/*/orders`. Its hash is
//! computed as the path is walked, so a known route allocates nothing. At most 255 are told apart;
//! the rest shares one key. Only a route that an origin has answered well is interned, so that a
//! scan for holes does not use the keys up.
//!
//! The table belongs to one entrance, since its gate learns by these keys: see
//! [`Admission::keys`](super::Admission::keys).

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use http::Method;
use parking_lot::Mutex;
use seawall_policy::admit::Key;

/// Twice the keys, so that probing stays short.
const SLOTS: usize = 512;
/// Segments that are looked at; deeper paths share what they begin with.
const DEPTH: usize = 8;

/// The keys of one origin's routes. Reading takes no lock.
#[derive(Debug)]
pub struct Keys {
    /// A shape in the upper 56 bits and its key in the lower 8; 0 where free.
    slots: Box<[AtomicU64; SLOTS]>,
    count: AtomicUsize,
    names: Mutex<Vec<String>>,
}

/// A route by its hash: a method and a path without its ids.
///
/// ```
/// use http::Method;
/// use seawall::admission::Shape;
///
/// let of = |path| Shape::of(&Method::GET, path);
/// assert_eq!(of("/users/17/orders"), of("/users/23/orders"));
/// assert_ne!(of("/users/17/orders"), of("/users/17/carts"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape(u64);

impl Default for Keys {
    fn default() -> Self {
        let slots = Box::new(std::array::from_fn(|_| AtomicU64::new(0)));
        Self {
            slots,
            count: AtomicUsize::new(0),
            names: Mutex::default(),
        }
    }
}

impl Keys {
    /// The key of a route, where it has one.
    #[must_use]
    pub fn get(&self, shape: Shape) -> Option<Key> {
        self.find(shape).ok().flatten()
    }

    /// `Err` with the free slot where the shape is not there, `Ok(None)` where the table is full.
    fn find(&self, shape: Shape) -> Result<Option<Key>, usize> {
        let first = (shape.0 >> 32) as usize;
        for step in 0..SLOTS {
            let at = (first + step) % SLOTS;
            let word = self.slots[at].load(Ordering::Acquire);
            if word == 0 {
                return Err(at);
            }
            if word & !0xFF == shape.0 & !0xFF {
                return Ok(Some(Key(word as u8)));
            }
        }
        Ok(None)
    }

    /// Gives a route a key, if there is one left.
    #[cold]
    pub fn intern(&self, shape: Shape, method: &Method, path: &str) {
        // The lock makes looking and taking one step.
        let mut names = self.names.lock();
        let Err(at) = self.find(shape) else { return };
        if names.len() >= usize::from(Key::OVERFLOW.0) {
            return;
        }
        self.put(&mut names, at, shape, name(method, path));
    }

    /// Gives a route a key beforehand, under the name of its shape, if there is one left.
    pub fn intern_named(&self, route: &str) {
        let shape = Shape::named(route);
        let mut names = self.names.lock();
        let Err(at) = self.find(shape) else { return };
        if names.len() >= usize::from(Key::OVERFLOW.0) {
            return;
        }
        self.put(&mut names, at, shape, route.to_owned());
    }

    fn put(&self, names: &mut Vec<String>, at: usize, shape: Shape, name: String) {
        self.slots[at].store((shape.0 & !0xFF) | names.len() as u64, Ordering::Release);
        names.push(name);
        self.count.store(names.len(), Ordering::Relaxed);
    }

    /// Whether [`Keys::intern`] may still do something.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.count.load(Ordering::Relaxed) < usize::from(Key::OVERFLOW.0)
    }

    /// What a key stands for.
    #[must_use]
    pub fn name(&self, key: Key) -> String {
        self.names
            .lock()
            .get(usize::from(key.0))
            .cloned()
            .unwrap_or_else(|| "*".to_owned())
    }
}

impl Shape {
    /// The shape of a request; some 10 ns for a short path, no allocation.
    #[must_use]
    pub fn of(method: &Method, path: &str) -> Self {
        let mut hash = mix(0, method.as_str().as_bytes());
        for segment in path.split('/').skip(1).take(DEPTH) {
            let segment = if is_id(segment) { "*" } else { segment };
            hash = mix(hash, segment.as_bytes());
        }
        // 0 would mean a free slot.
        Self(hash | 1 << 63)
    }

    /// That of a route with a name of its own, of which nothing is collapsed.
    #[must_use]
    pub fn named(route: &str) -> Self {
        // No method is called so, and so no path has this shape.
        Self(mix(mix(0, b" "), route.as_bytes()) | 1 << 63)
    }
}

/// Whether a segment names one thing of many: a number, a UUID, a hash, a token.
fn is_id(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    digits > 0 && (digits == bytes.len() || digits >= 3)
        || bytes.len() > 32
        || bytes.contains(&b'%')
        || bytes.len() >= 16
            && bytes
                .iter()
                .all(|byte| byte.is_ascii_hexdigit() || *byte == b'-')
}

fn name(method: &Method, path: &str) -> String {
    let mut name = method.to_string();
    name.push(' ');
    for segment in path.split('/').skip(1).take(DEPTH) {
        name.push('/');
        name.push_str(if is_id(segment) { "*" } else { segment });
    }
    name
}

/// Multiply and fold, eight bytes at a time. Not proof against chosen collisions, which would only
/// make two routes share a key.
pub(crate) fn mix(mut hash: u64, bytes: &[u8]) -> u64 {
    const K: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut chunks = bytes.chunks_exact(8);
    let mut word = |word: u64| {
        let product = u128::from(hash ^ word).wrapping_mul(u128::from(K));
        hash = (product as u64) ^ ((product >> 64) as u64) ^ K.rotate_left(17);
    };
    for chunk in &mut chunks {
        let mut eight = [0; 8];
        eight.copy_from_slice(chunk);
        word(u64::from_le_bytes(eight));
    }
    let mut last = [0; 8];
    last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    // The length keeps "a/b" and "ab" apart.
    word(u64::from_le_bytes(last) ^ ((bytes.len() as u64 + 1) << 56));
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_collapse_and_names_do_not() {
        let get = |path| Shape::of(&Method::GET, path);
        for (a, b) in [
            ("/users/1", "/users/77"),
            ("/users/1/orders/9", "/users/2/orders/x1234"),
            (
                "/o/0af76519-16cd-43dd-8448-eb211c80319c",
                "/o/deadbeefdeadbeefdeadbeef",
            ),
            ("/s/a%20b", "/s/%7E"),
        ] {
            assert_eq!(get(a), get(b), "{a} {b}");
        }
        for (a, b) in [
            ("/users", "/user"),
            ("/a/b", "/ab"),
            ("/v1/x", "/v2/x"),
            ("/", "/a"),
            ("/a", "/a/"),
            ("/a/b", "/b/a"),
        ] {
            assert_ne!(get(a), get(b), "{a} {b}");
        }
        assert_ne!(get("/a"), Shape::of(&Method::POST, "/a"));
        assert_eq!(
            name(&Method::GET, "/users/123/orders"),
            "GET /users/*/orders"
        );
    }

    #[test]
    fn a_named_route_is_no_path() {
        let keys = Keys::default();
        keys.intern_named("shop.v1.Orders/Place");
        keys.intern_named("shop.v1.Orders/Place");
        assert_eq!(keys.get(Shape::named("shop.v1.Orders/Place")), Some(Key(0)));
        assert_eq!(keys.name(Key(0)), "shop.v1.Orders/Place");
        let path = Shape::of(&Method::POST, "/shop.v1.Orders/Place");
        assert_eq!(keys.get(path), None);
        assert_eq!(keys.names.lock().len(), 1);
    }

    #[test]
    fn at_most_255_and_the_rest_in_one() {
        let keys = Keys::default();
        for i in 0..2_000u32 {
            let path: String = format!("/{}", i)
                .chars()
                .map(|c| if c == '/' { c } else { (c as u8 + 49) as char })
                .collect();
            keys.intern(Shape::of(&Method::GET, &path), &Method::GET, &path);
            keys.intern(Shape::of(&Method::GET, &path), &Method::GET, &path);
        }
        assert!(!keys.has_room());
        assert_eq!(keys.get(Shape::of(&Method::GET, "/a")), Some(Key(0)));
        assert_eq!(keys.name(Key(1)), "GET /b");
        assert_eq!(keys.get(Shape::of(&Method::GET, "/never")), None);
        assert_eq!(keys.names.lock().len(), 255);
        assert_eq!(keys.name(Key::OVERFLOW), "*");
    }
}
