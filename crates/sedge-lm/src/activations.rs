//! Activations in the form that the kernels eat: eight-bit numbers, up to eight rows side by side.
//!
//! Rows stand in panels of eight, the last with what is left. A panel holds its blocks of 32 columns
//! one after another, each block as 32-bit words, so that a kernel reads everything from one place
//! that only moves on:
//!
//! | words | what |
//! | --- | --- |
//! | 8 · rows | word `m · 8 + g`: columns `4g` to `4g + 3` of row `m`, the first in the lowest byte |
//! | rows | each row's scale |
//! | rows | each row's scale times the sum of its numbers |
//! | rows | each row's −128 times the sum of its numbers: where 8-bit tiles begin to count |

use crate::tiles::COLUMNS;

/// The most rows of a panel: so many share one unpacked tile.
pub(crate) const PANEL: usize = 8;
/// Words that one row takes in one block.
pub(crate) const WORDS: usize = 11;

/// Some rows of activations.
#[derive(Debug, Default)]
pub(crate) struct Activations {
    layout: Layout,
    words: Vec<i32>,
}

/// Where the rows stand.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Layout {
    rows: usize,
    blocks: usize,
}

/// Where a panel stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) rows: usize,
    /// Its first word.
    pub(crate) from: usize,
    /// How many words it takes.
    pub(crate) words: usize,
}

impl Layout {
    /// Returns how many columns each row has.
    pub(crate) const fn columns(self) -> usize {
        self.blocks * COLUMNS
    }

    /// Returns how many panels there are.
    pub(crate) const fn panels(self) -> usize {
        self.rows.div_ceil(PANEL)
    }

    /// Returns where a panel stands.
    pub(crate) fn place(self, panel: usize) -> Place {
        let (first, words) = (panel * PANEL, self.blocks * WORDS);
        let rows = PANEL.min(self.rows - first);
        Place { rows, from: first * words, words: rows * words }
    }
}

impl Activations {
    /// Makes room for `rows` of `columns` numbers, a multiple of 32, and returns it. What was there
    /// is lost.
    pub(crate) fn reset(&mut self, rows: usize, columns: usize) -> (Layout, &mut [i32]) {
        self.layout = Layout { rows, blocks: columns / COLUMNS };
        self.words.resize(rows * self.layout.blocks * WORDS, 0);
        (self.layout, &mut self.words)
    }

    /// Returns where the rows stand.
    pub(crate) const fn layout(&self) -> Layout {
        self.layout
    }

    /// Returns a panel.
    pub(crate) fn panel(&self, at: usize) -> Panel<'_> {
        let Place { rows, from, words } = self.layout.place(at);
        Panel { rows, blocks: self.layout.blocks, words: &self.words[from..][..words] }
    }
}

/// Up to eight rows of activations.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Panel<'a> {
    pub(crate) rows: usize,
    pub(crate) blocks: usize,
    pub(crate) words: &'a [i32],
}

impl Panel<'_> {
    /// Returns whether there is everything that kernels rely on.
    pub(crate) fn is_whole(&self) -> bool {
        (1..=PANEL).contains(&self.rows) && self.words.len() == self.rows * self.blocks * WORDS
    }

    fn block(&self, block: usize) -> &[i32] {
        let words = self.rows * WORDS;
        &self.words[block * words..][..words]
    }

    /// Returns the numbers of a row in a block.
    pub(crate) fn numbers(&self, row: usize, block: usize) -> [i8; COLUMNS] {
        let mut numbers = [0; COLUMNS];
        let words = &self.block(block)[row * 8..][..8];
        for (four, word) in numbers.chunks_exact_mut(4).zip(words) {
            for (number, byte) in four.iter_mut().zip(word.to_le_bytes()) {
                *number = byte.cast_signed();
            }
        }
        numbers
    }

    /// Returns a row's scale in a block, and the scale times the sum of the numbers there.
    pub(crate) fn scale_and_sum(&self, row: usize, block: usize) -> (f32, f32) {
        let words = self.block(block);
        let float = |at: usize| f32::from_bits(words[at].cast_unsigned());
        (float(self.rows * 8 + row), float(self.rows * 9 + row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{Chosen, Kernel};

    #[test]
    fn numbers_are_near_their_values() {
        let values: Vec<f32> = (0..64).map(|it| (it as f32 - 31.5) / 7.0).collect();
        let mut rows = Activations::default();
        let (_, words) = rows.reset(3, 64);
        Chosen::new(Kernel::Scalar).unwrap().quantise(&values, words, 3, 1);
        for (at, value) in values.iter().enumerate() {
            let panel = rows.panel(0);
            let (scale, sum) = panel.scale_and_sum(1, at / 32);
            let numbers = panel.numbers(1, at / 32);
            let back = scale * f32::from(numbers[at % 32]);
            assert!((back - value).abs() <= scale * 0.5001, "{back} {value}");
            let total: i32 = numbers.iter().map(|it| i32::from(*it)).sum();
            assert_eq!(sum, scale * total as f32);
        }
    }

    #[test]
    fn nonsense_stays_within_bounds() {
        let values = [[f32::NAN; 32], [f32::INFINITY; 32], [f32::MIN; 32], [1e-45; 32]].concat();
        let mut rows = Activations::default();
        for kernel in Kernel::ALL.into_iter().filter_map(Chosen::new) {
            kernel.quantise(&values, rows.reset(1, values.len()).1, 1, 0);
            for block in 0..4 {
                assert!(rows.panel(0).numbers(0, block).iter().all(|it| *it != i8::MIN));
            }
        }
    }
}
