//! How many bits a filter takes, and what its fill says. Pure.

use std::fmt;

const KEYS: u64 = 1 << 33;
const ERROR: (f64, f64) = (1e-6, 0.5);

/// What a filter is to hold: so many keys, with such a share of absent keys passed as "maybe".
///
/// Bits and hashes are those of Bloom (CACM 1970) with the number of hashes whole: for `k` hashes
/// the error is `p = (1 − e^(−k·n/m))^k`, so `m = −k·n ∕ ln(1 − p^(1/k))`, and `k` is the neighbour
/// of `log₂(1/p)` that needs fewer bits. 1 %: 7 hashes, 9.6 bits a key.
///
/// ```
/// use seawall_cache::FilterSize;
///
/// let size = FilterSize::new(10_000_000, 0.01);
/// assert_eq!(size.hashes(), 7);
/// assert!((9.58..9.61).contains(&(size.bits() as f64 / 1e7)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FilterSize {
    keys: u64,
    error: f64,
}

impl FilterSize {
    /// For `keys` keys, 1 to 2³³, and an `error` of 10⁻⁶ to 0.5; out of range counts as the nearest
    /// in range, NaN as 1 %.
    #[must_use]
    pub fn new(keys: u64, error: f64) -> Self {
        let error = if error.is_nan() { 0.01 } else { error };
        Self {
            keys: keys.clamp(1, KEYS),
            error: error.clamp(ERROR.0, ERROR.1),
        }
    }

    /// Keys it is made for.
    #[must_use]
    pub const fn keys(&self) -> u64 {
        self.keys
    }

    /// The share of absent keys that it passes when it holds that many.
    #[must_use]
    pub const fn error(&self) -> f64 {
        self.error
    }

    /// Bits set for each key.
    #[must_use]
    pub fn hashes(&self) -> u32 {
        let ideal = -self.error.log2();
        let (fewer, more) = (ideal.floor().max(1.0), ideal.ceil().max(1.0));
        let better = if bits_a_key(fewer, self.error) <= bits_a_key(more, self.error) {
            fewer
        } else {
            more
        };
        better as u32
    }

    /// Bits in all, a multiple of 64.
    #[must_use]
    pub fn bits(&self) -> u64 {
        let bits = self.keys as f64 * bits_a_key(f64::from(self.hashes()), self.error);
        (bits.ceil() as u64).next_multiple_of(64)
    }
}

fn bits_a_key(hashes: f64, error: f64) -> f64 {
    -hashes / (1.0 - error.powf(1.0 / hashes)).ln()
}

/// How full a filter is, from the bits that are set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fill {
    /// Keys it holds: `−(m/k)·ln(1 − X/m)` for `X` of `m` bits set (Swamidass and Baldi, 2007).
    pub keys: u64,
    /// The share of absent keys it passes as "maybe" now: `(X/m)^k`.
    pub error: f64,
    /// What it was made for.
    pub size: FilterSize,
}

impl Fill {
    pub(super) fn of(set: u64, bits: u64, hashes: u32, size: FilterSize) -> Self {
        let bits = bits.max(1) as f64;
        let share = (set as f64 / bits).clamp(0.0, 1.0);
        // All bits set: any number of keys; the least that would be expected to do so.
        let clear = (1.0 - share).max(0.5 / bits);
        let hashes = f64::from(hashes.max(1));
        Self {
            keys: (-bits / hashes * clear.ln()) as u64,
            error: share.powf(hashes),
            size,
        }
    }

    /// The warning, where it holds more than it was made for by a twentieth.
    #[must_use]
    pub fn overfull(&self) -> Option<Overfull> {
        let over = self.keys > self.size.keys() + self.size.keys() / 20;
        over.then(|| Overfull {
            keys: self.keys,
            made_for: self.size.keys(),
            error: self.error,
            stated: self.size.error(),
            suggested: FilterSize::new(self.keys + self.keys / 2, self.size.error()),
        })
    }
}

/// A filter holds more keys than it was made for: it still never denies a key that is there, and
/// lets more through that are not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Overfull {
    /// Keys it holds, estimated; a filter with all bits set says the least it can be.
    pub keys: u64,
    /// Keys it was made for.
    pub made_for: u64,
    /// The share of absent keys that it passes now.
    pub error: f64,
    /// The share it was to pass.
    pub stated: f64,
    /// The size to rebuild it with: half as many keys again as there are.
    pub suggested: FilterSize,
}

impl fmt::Display for Overfull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            keys,
            made_for,
            error,
            stated,
            suggested,
        } = self;
        write!(
            f,
            "the filter was made for {made_for} keys and holds about {keys}: it passes {:.2} % of \
             absent keys instead of {:.2} %; rebuild it for {} keys ({} MiB)",
            error * 100.0,
            stated * 100.0,
            suggested.keys(),
            suggested.bits() >> 23,
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_formula_gives_the_error_it_was_asked_for(keys: u64, error: f64) {
            let size = FilterSize::new(keys, error);
            let (k, m) = (f64::from(size.hashes()), size.bits() as f64);
            let got = (1.0 - (-k * size.keys() as f64 / m).exp()).powf(k);
            prop_assert!(got <= size.error() * 1.000_001, "{got} of {}", size.error());
        }

        #[test]
        fn no_other_number_of_hashes_needs_fewer_bits(error in 1e-6..0.5_f64) {
            let best = FilterSize::new(1 << 20, error).hashes();
            for hashes in 1..30 {
                let (best, other) = (f64::from(best), f64::from(hashes));
                prop_assert!(bits_a_key(best, error) <= bits_a_key(other, error));
            }
        }

        #[test]
        fn any_fill_is_finite(set: u64, bits: u64, hashes: u32) {
            let fill = Fill::of(set, bits, hashes, FilterSize::new(1, 0.01));
            prop_assert!((0.0..=1.0).contains(&fill.error));
        }
    }

    #[test]
    fn a_tenth_of_the_size_says_so() {
        let size = FilterSize::new(1_000, 0.01);
        let (m, k) = (size.bits(), size.hashes());
        let set = m as f64 * (1.0 - (-f64::from(k) * 10_000.0 / m as f64).exp());
        let fill = Fill::of(set as u64, m, k, size);
        let said = fill.overfull().unwrap();
        assert!((9_000..11_000).contains(&said.keys), "{said}");
        assert!(said.error > 0.9, "{said}");
        assert!(said.suggested.keys() > 13_000, "{said}");
        assert_eq!(Fill::of(m / 2, m, k, size).overfull(), None);
    }
}
