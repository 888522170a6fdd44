//! Numbers that look random and are the same for the same seed.

use std::time::Duration;

/// A seeded source of numbers (SplitMix64, Steele et al. 2014): for spreading and for simulations,
/// never for secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dice(u64);

impl Dice {
    /// Makes dice that fall the same way for the same seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns dice of their own for one purpose: rolling them does not move these further.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.roll())
    }

    /// Returns the next number.
    pub const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`, or 0 when `end` is 0.
    pub const fn below(&mut self, end: u64) -> u64 {
        // The high half of the product: every number is as likely, to one part in 2^64 / end.
        ((self.roll() as u128 * end as u128) >> 64) as u64
    }

    /// Returns whether something happens that happens `percent` times in a hundred.
    pub const fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Returns a duration from nothing to `most`, in microseconds.
    pub fn up_to(&mut self, most: Duration) -> Duration {
        let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX - 1);
        Duration::from_micros(self.below(micros + 1))
    }

    /// Returns one of them, or `None` when there is none.
    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> Option<&'a T> {
        let at = usize::try_from(self.below(among.len() as u64)).ok()?;
        among.get(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_falls_the_same_way() {
        let mut dice = Dice::new(0);
        // The reference implementation's first numbers for the seed 0.
        assert_eq!(dice.roll(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(dice.roll(), 0x6e78_9e6a_a1b9_65f4);
        assert_ne!(Dice::new(1).roll(), Dice::new(2).roll());
    }

    #[test]
    fn every_side_falls_and_no_other() {
        let mut dice = Dice::new(7);
        let mut seen = [0_u32; 6];
        for _ in 0..600 {
            seen[usize::try_from(dice.below(6)).unwrap()] += 1;
        }
        assert!(seen.iter().all(|it| (50..200).contains(it)), "{seen:?}");
        assert_eq!(dice.below(0), 0);
        assert_eq!(dice.pick::<u8>(&[]), None);
        assert!(dice.up_to(Duration::from_millis(3)) <= Duration::from_millis(3));
    }
}
