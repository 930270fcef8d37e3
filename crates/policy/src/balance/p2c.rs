//! The power of two choices: two drawn at random, the better one taken.
//!
//! It keeps the greatest load near the mean without looking at every host, and, unlike "the best of
//! all", does not send every client to the same host at once (Mitzenmacher, 2001).

use super::dice::Dice;
use super::sampler::Sampler;

/// So many pairs are drawn before every host is looked at.
const PAIRS: u32 = 4;

/// The better of the first two members drawn that `usable` takes, by `load`; the only one where no
/// second was found. `None` where none was found: look at all.
///
/// The second must be better by `margin` (a factor up to 1): within the noise of what is compared,
/// the draw decides, which is fair and honours weights.
#[inline]
pub(super) fn pick(
    sampler: &Sampler,
    dice: &mut Dice,
    margin: f32,
    mut usable: impl FnMut(usize, &mut Dice) -> bool,
    load: impl Fn(usize) -> f32,
) -> Option<usize> {
    let mut first = None;
    for _ in 0..PAIRS {
        let (a, b) = sampler.pair(dice.roll());
        for at in [a, b] {
            if !usable(at, dice) {
                continue;
            }
            match first {
                None => first = Some(at),
                Some(first) if load(at) < load(first) * margin => return Some(at),
                Some(first) => return Some(first),
            }
        }
    }
    first
}
