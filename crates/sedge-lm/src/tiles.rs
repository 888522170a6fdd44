//! Weights in the form that the kernels eat.
//!
//! A matrix is cut into strips of 16 rows, a strip into tiles of 16 rows × 32 columns. In a tile, four
//! neighbouring columns of one row lie side by side, so that one integer instruction yields sixteen
//! rows and no horizontal sum is ever needed.
//!
//! | tile | bytes | layout |
//! | --- | --: | --- |
//! | 4-bit | 320 | 4 groups of 64 bytes: byte `r·4 + k` of group `g` holds column `4g + k` of row `r` low, column `16 + 4g + k` high; then 16 scales and 16 minima as 16-bit floats |
//! | 8-bit | 544 | 8 groups of 64 bytes: byte `r·4 + k` of group `g` holds column `4g + k` of row `r`, plus 128; then 16 scales as 16-bit floats |
//!
//! `weight = scale · number + minimum` in 4-bit tiles, `scale · (number − 128)` in 8-bit ones.

use std::io;

use memmap2::MmapMut;

use crate::gguf::{Format, GgufError, Tensor};

/// Rows of a tile.
pub(crate) const ROWS: usize = 16;
/// Columns of a tile.
pub(crate) const COLUMNS: usize = 32;
/// Bytes of a 4-bit tile.
pub(crate) const TILE4: usize = 320;
/// Bytes of an 8-bit tile.
pub(crate) const TILE8: usize = 544;

/// How many bits the numbers of a matrix have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bits {
    Four,
    Eight,
}

impl Bits {
    pub(crate) const fn tile(self) -> usize {
        match self {
            Self::Four => TILE4,
            Self::Eight => TILE8,
        }
    }
}

/// The tiles of all matrices of a model, one after another in one piece of memory.
#[derive(Debug)]
pub(crate) struct Tiles {
    memory: MmapMut,
    used: usize,
}

/// A weight matrix and where its tiles lie. Rows beyond the last are zero.
#[derive(Debug)]
pub(crate) struct Matrix {
    pub(crate) bits: Bits,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    from: usize,
}

impl Matrix {
    pub(crate) const fn strips(&self) -> usize {
        self.rows.div_ceil(ROWS)
    }

    const fn blocks(&self) -> usize {
        self.columns / COLUMNS
    }

    /// Returns the memory that the tiles take; the next ones begin on a border of 64 bytes.
    pub(crate) const fn size(&self) -> usize {
        (self.strips() * self.blocks() * self.bits.tile()).next_multiple_of(64)
    }

    const fn planned(format: Format, rows: usize, columns: usize) -> Self {
        let bits = match format {
            Format::Q4_0 | Format::Q4_1 => Bits::Four,
            Format::Q8_0 | Format::F16 | Format::F32 => Bits::Eight,
        };
        Self { bits, rows, columns, from: 0 }
    }
}

impl Tiles {
    /// Makes room for the tiles of all tensors of a file.
    ///
    /// # Errors
    ///
    /// When the system has no memory left.
    pub(crate) fn with_room<'a>(tensors: impl Iterator<Item = Tensor<'a>>) -> io::Result<Self> {
        let size = |it: Tensor<'_>| Matrix::planned(it.format, it.rows, it.columns).size();
        let memory = MmapMut::map_anon(tensors.map(size).sum::<usize>().max(1))?;
        // Every token reads all weights from end to end; with large pages the processor looks up
        // fewer addresses. A system that has none is only slower.
        #[cfg(target_os = "linux")]
        let _slower = memory.advise(memmap2::Advice::HugePage);
        Ok(Self { memory, used: 0 })
    }

    /// Repacks a tensor. 16- and 32-bit floats are brought to 8 bits, block by block of 32.
    ///
    /// # Errors
    ///
    /// [`GgufError::Malformed`] when the rows are no multiple of 32 long, or when there is no room
    /// for the tensor.
    pub(crate) fn repack(&mut self, tensor: &Tensor<'_>, name: &str) -> Result<Matrix, GgufError> {
        let Tensor { format, columns, rows, bytes } = *tensor;
        let matrix = Matrix { from: self.used, ..Matrix::planned(format, rows, columns) };
        let end = self.used + matrix.size();
        if columns % COLUMNS != 0 || rows == 0 || end > self.memory.len() {
            let what = format!("tensor `{name}` with {rows} rows of {columns}");
            return Err(GgufError::Malformed { what });
        }
        let tiles = &mut self.memory[self.used..end];
        let (bits, blocks) = (matrix.bits, matrix.blocks());
        let row_bytes = bytes.len() / rows;
        for (row, stored) in bytes.chunks_exact(row_bytes).enumerate() {
            let (strip, r) = (row / ROWS, row % ROWS);
            for block in 0..blocks {
                let at = (strip * blocks + block) * bits.tile();
                let tile = &mut tiles[at..at + bits.tile()];
                let (_, size) = format.block();
                match format {
                    Format::Q4_0 => put4(tile, r, &stored[block * size..][..size], None),
                    Format::Q4_1 => {
                        let stored = &stored[block * size..][..size];
                        let minimum = u16::from_le_bytes([stored[2], stored[3]]);
                        put4(tile, r, stored, Some(minimum));
                    }
                    Format::Q8_0 => {
                        let stored = &stored[block * size..][..size];
                        let scale = u16::from_le_bytes([stored[0], stored[1]]);
                        let mut numbers = [0_i8; COLUMNS];
                        for (number, byte) in numbers.iter_mut().zip(&stored[2..]) {
                            // -128 is in no file that a quantiser wrote, and one kernel's sign
                            // trick cannot hold it.
                            *number = byte.cast_signed().max(-127);
                        }
                        put8(tile, r, scale, &numbers);
                    }
                    Format::F16 | Format::F32 => {
                        let stored = &stored[block * COLUMNS * size..][..COLUMNS * size];
                        let values = floats(format, stored);
                        let (scale, numbers) = quantise_weights(&values);
                        put8(tile, r, scale, &numbers);
                    }
                }
            }
        }
        self.used = end;
        Ok(matrix)
    }

    /// Returns the tiles of a strip.
    pub(crate) fn strip(&self, matrix: &Matrix, strip: usize) -> &[u8] {
        let length = matrix.blocks() * matrix.bits.tile();
        &self.memory[matrix.from..][strip * length..][..length]
    }

    /// Writes one row as floats.
    pub(crate) fn row(&self, matrix: &Matrix, row: usize, into: &mut [f32]) {
        let (strip, r) = (self.strip(matrix, row / ROWS), row % ROWS);
        let tiles = strip.chunks_exact(matrix.bits.tile());
        for (tile, values) in tiles.zip(into.chunks_exact_mut(COLUMNS)) {
            for (column, value) in values.iter_mut().enumerate() {
                let (number, scale, minimum) = numbers(matrix.bits, tile, r, column);
                *value = scale * f32::from(number) + minimum;
            }
        }
    }
}

/// Returns one stored number of a tile with its row's scale and minimum.
pub(crate) fn numbers(bits: Bits, tile: &[u8], r: usize, column: usize) -> (i16, f32, f32) {
    let half = |at: usize| half_to_float(u16::from_le_bytes([tile[at], tile[at + 1]]));
    match bits {
        Bits::Four => {
            let within = column % 16;
            let byte = tile[within / 4 * 64 + r * 4 + within % 4];
            let number = if column < 16 { byte & 0x0f } else { byte >> 4 };
            (number.into(), half(256 + r * 2), half(288 + r * 2))
        }
        Bits::Eight => {
            let byte = tile[column / 4 * 64 + r * 4 + column % 4];
            (i16::from(byte) - 128, half(512 + r * 2), 0.0)
        }
    }
}

fn put4(tile: &mut [u8], r: usize, stored: &[u8], minimum: Option<u16>) {
    let scale = u16::from_le_bytes([stored[0], stored[1]]);
    let bytes = &stored[stored.len() - 16..];
    for (column, byte) in bytes.iter().enumerate() {
        // The file pairs column c with column c + 16 as well.
        tile[column / 4 * 64 + r * 4 + column % 4] = *byte;
    }
    // Q4_0 counts from 8: its minimum is eight times the scale below zero, which a 16-bit float
    // holds exactly unless it is huge.
    let minimum = minimum.unwrap_or_else(|| float_to_half(-8.0 * half_to_float(scale)));
    tile[256 + r * 2..][..2].copy_from_slice(&scale.to_le_bytes());
    tile[288 + r * 2..][..2].copy_from_slice(&minimum.to_le_bytes());
}

fn put8(tile: &mut [u8], r: usize, scale: u16, numbers: &[i8; COLUMNS]) {
    for (column, number) in numbers.iter().enumerate() {
        tile[column / 4 * 64 + r * 4 + column % 4] = number.cast_unsigned() ^ 0x80;
    }
    tile[512 + r * 2..][..2].copy_from_slice(&scale.to_le_bytes());
}

/// Reads stored floats.
pub(crate) fn floats(format: Format, stored: &[u8]) -> Vec<f32> {
    match format {
        Format::F16 => stored
            .chunks_exact(2)
            .map(|it| half_to_float(u16::from_le_bytes([it[0], it[1]])))
            .collect(),
        _ => stored
            .chunks_exact(4)
            .map(|it| f32::from_le_bytes([it[0], it[1], it[2], it[3]]))
            .collect(),
    }
}

fn quantise_weights(values: &[f32]) -> (u16, [i8; COLUMNS]) {
    let most = values.iter().fold(0.0_f32, |most, it| most.max(it.abs()));
    let scale = float_to_half(most / 127.0);
    let back = half_to_float(scale);
    let mut numbers = [0; COLUMNS];
    if back > 0.0 && back.is_finite() {
        for (number, value) in numbers.iter_mut().zip(values) {
            *number = (value / back).round().clamp(-127.0, 127.0) as i8;
        }
    }
    (scale, numbers)
}

/// Returns the float that a 16-bit float (IEEE 754 binary16) stands for, exactly.
pub(crate) fn half_to_float(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let (exponent, mantissa) = (u32::from(half >> 10 & 0x1f), u32::from(half & 0x3ff));
    match (exponent, mantissa) {
        (0, 0) => f32::from_bits(sign),
        (0, mantissa) => {
            let value = mantissa as f32 / 16_777_216.0;
            if sign == 0 { value } else { -value }
        }
        (31, mantissa) => f32::from_bits(sign | 0x7f80_0000 | mantissa << 13),
        (exponent, mantissa) => f32::from_bits(sign | (exponent + 112) << 23 | mantissa << 13),
    }
}

/// Returns the nearest 16-bit float, ties to even.
pub(crate) fn float_to_half(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16 & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    if magnitude >= 0x4780_0000 {
        // Too large, infinite or no number.
        return sign | if magnitude > 0x7f80_0000 { 0x7e00 } else { 0x7c00 };
    }
    if magnitude < 0x3880_0000 {
        // Subnormal or zero: count in units of 2^-24.
        let units = (f32::from_bits(magnitude) * 16_777_216.0 + 12_582_912.0) - 12_582_912.0;
        return sign | units as u16;
    }
    let rounded = magnitude + 0x0fff + (magnitude >> 13 & 1);
    sign | ((rounded - 0x3800_0000) >> 13) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_survives_the_round_trip() {
        for half in 0..=u16::MAX {
            let value = half_to_float(half);
            if value.is_nan() {
                assert!(half_to_float(float_to_half(value)).is_nan());
            } else {
                assert_eq!(float_to_half(value), half, "{value}");
            }
        }
    }
}
