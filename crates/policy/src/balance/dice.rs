//! As many random numbers as it takes, from the one that came as an argument.

/// splitmix64's step: a bijection that spreads every bit over all others.
#[inline]
pub(super) fn mix(x: u64) -> u64 {
    let z = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The argument first, then what is mixed from it.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    #[inline]
    pub(super) fn new(random: u64) -> Self {
        Self(random)
    }

    #[inline]
    pub(super) fn roll(&mut self) -> u64 {
        let now = self.0;
        self.0 = mix(now);
        now
    }

    /// Evenly from 0 to 1, without 1.
    #[inline]
    pub(super) fn unit(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
