//! Who asks, as a number.

/// The seed that [`tenant_hash`] is given where none is configured. A constant, so that replicas
/// agree on the cohorts without being told.
pub const TENANT_SEED: u64 = 0x5ea3_a110_5ea3_a110;

/// A stable hash of a tenant's name; never 0, which means "nobody is named".
///
/// The same name and seed give the same number in every process, version and architecture:
/// replicas place a tenant in the same cohort, and an under-way mark made by one is understood by
/// another. FNV-1a over the bytes, finished by splitmix64's mixer so that every bit depends on
/// every byte. Not for secrets: a name that collides on purpose gains a neighbour's cohort, no more.
///
/// ```
/// use seawall::context::{TENANT_SEED, tenant_hash};
///
/// assert_eq!(tenant_hash(b"acme", TENANT_SEED), tenant_hash(b"acme", TENANT_SEED));
/// assert_ne!(tenant_hash(b"acme", TENANT_SEED), tenant_hash(b"acme", 7));
/// ```
#[must_use]
pub fn tenant_hash(name: &[u8], seed: u64) -> u64 {
    let mut h = 0xcbf2_9ce4_8422_2325 ^ seed;
    for &byte in name {
        h = (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    h = (h ^ (h >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (h ^ (h >> 31)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_across_versions() {
        // Changing these numbers moves every tenant to another cohort during a rolling update.
        assert_eq!(tenant_hash(b"", 0), 0xf52a_15e9_a9b5_e89b);
        assert_eq!(tenant_hash(b"acme", TENANT_SEED), 0x6195_8cb8_0f8b_164d);
    }

    #[test]
    fn spreads_over_cohorts() {
        let mut cohorts = [0u32; 128];
        for n in 0..12_800 {
            cohorts[(tenant_hash(format!("tenant-{n}").as_bytes(), TENANT_SEED) % 128) as usize] +=
                1;
        }
        // Mean 100, σ = 10: six sigma either way.
        assert!(
            cohorts.iter().all(|&n| (40..=160).contains(&n)),
            "{cohorts:?}"
        );
    }
}
