//! Faults planted on purpose, for the endpoints of `docs/profiling.md` to find.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use seawall::sync::Mutex;

/// What is computed for nothing: tens of milliseconds.
const ROUNDS: u64 = 5_000_000;
/// How long the lock is held.
const HELD: Duration = Duration::from_millis(5);
/// What a remembered page takes.
const PAGE: usize = 64 * 1024;

/// Pages by the number of those asked for before.
type Pages = HashMap<u64, Vec<u8>>;

/// A hot spot, a leak and a lock convoy; none unless said. Clones share them.
#[derive(Clone)]
pub struct Faults {
    hot_spot: bool,
    pages: Option<Arc<Mutex<Pages>>>,
    shelf: Option<Arc<Mutex<u64>>>,
}

impl Faults {
    /// Those that are wanted.
    #[must_use]
    pub fn new(hot_spot: bool, leak: bool, convoy: bool) -> Self {
        Self {
            hot_spot,
            pages: leak.then(|| Arc::new(Mutex::new("pages", Pages::new()))),
            shelf: convoy.then(|| Arc::new(Mutex::new("shelf", 0))),
        }
    }

    /// The hot spot: a checksum of far more than is needed.
    pub fn compute(&self) {
        if self.hot_spot {
            black_box(checksum_of_everything());
        }
    }

    /// The leak: a cache that never forgets, with a key that never comes again.
    pub fn remember(&self) {
        if let Some(pages) = &self.pages {
            remember_page(&mut pages.lock());
        }
    }

    /// The convoy: what is slow is done with the lock held.
    pub fn look_up(&self) {
        if let Some(shelf) = &self.shelf {
            look_up_slowly(shelf);
        }
    }
}

#[inline(never)]
fn checksum_of_everything() -> u64 {
    (0..ROUNDS).fold(7_u64, |sum, n| black_box(sum.rotate_left(5) ^ n))
}

#[inline(never)]
fn remember_page(pages: &mut Pages) {
    let asked_before = u64::try_from(pages.len()).unwrap_or(u64::MAX);
    pages.insert(asked_before, vec![1; PAGE]);
}

#[inline(never)]
fn look_up_slowly(shelf: &Mutex<u64>) {
    let mut looks = shelf.lock();
    std::thread::sleep(HELD);
    *looks += 1;
}
