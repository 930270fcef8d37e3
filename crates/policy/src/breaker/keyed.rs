//! Many breakers, in bounded room.

/// A fixed number of breakers, one for each key's hash modulo that number.
///
/// Nothing is ever inserted or evicted: there is no lock, no key can push another out and so reset
/// its breaker, and whoever invents keys fills no memory. The price is that keys may share a
/// breaker. With `n` busy keys on `s` slots a key has one for itself with probability
/// `(1 − 1/s)ⁿ⁻¹`: 91 % for 100 tenants on 1,024. Routes, whose number is known, are interned: with
/// their index as the hash and a slot for each, none is shared.
///
/// ```
/// use seawall_policy::breaker::{Breaker, Keyed, Window, WindowSettings};
/// use seawall_policy::Tick;
///
/// let tenants = Keyed::new(1_024, || Window::new(WindowSettings::default(), Tick::ZERO));
/// let tenant = 0x5eed;
/// assert!(tenants.get(tenant).ask(Tick::ZERO, 0).is_ok());
/// ```
#[derive(Debug)]
pub struct Keyed<B>(Box<[B]>);

impl<B> Keyed<B> {
    /// `slots` breakers, rounded up to a power of two, at least 1 and at most 65,536.
    #[must_use]
    pub fn new(slots: usize, mut make: impl FnMut() -> B) -> Self {
        let slots = slots.clamp(1, 1 << 16).next_power_of_two();
        Self((0..slots).map(|_| make()).collect())
    }

    /// The breaker of the key with this hash; its low bits decide.
    #[inline]
    #[must_use]
    pub fn get(&self, hash: u64) -> &B {
        &self.0[hash as usize & (self.0.len() - 1)]
    }

    /// Every breaker, with its slot, for metrics.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &B)> {
        self.0.iter().enumerate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_always_finds_its_own_and_no_number_of_keys_adds_one() {
        let mut made = 0;
        let keyed = Keyed::new(100, || {
            made += 1;
            made
        });
        assert_eq!(keyed.iter().count(), 128);
        for hash in [0, 1, 127, u64::MAX] {
            assert_eq!(keyed.get(hash), keyed.get(hash));
        }
        assert_ne!(keyed.get(0), keyed.get(1));
        assert_eq!(keyed.get(1), keyed.get(129));
        assert_eq!(Keyed::new(0, || ()).iter().count(), 1);
    }
}
