//! Vectors of numbers, exact and in the two coarser forms that a poor link carries.
//!
//! The author signs the hashes of all three forms, which follow from the numbers alone: a coarse
//! form that came over a poor link is as authentic as the exact one, and says that it is coarse.

use sedge_base::ContentId;
use serde::{Deserialize, Serialize};

use crate::value::ValueError;

/// The most numbers of one tensor: 4 MiB.
pub const MAX_NUMBERS: usize = 1 << 20;

/// How exactly a tensor is written, coarsest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Sixteen steps between the smallest and the largest number, two numbers in a byte.
    FourBit,
    /// 256 steps between the smallest and the largest number, one byte each.
    EightBit,
    /// 32-bit floats, little endian.
    Exact,
}

/// A tensor as an entry names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorRef {
    /// What stands under `tensor`.
    tensor: Hashes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hashes {
    count: u32,
    exact: ContentId,
    eight_bit: ContentId,
    four_bit: ContentId,
}

/// Finite 32-bit floats, 1 to [`MAX_NUMBERS`] of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor(Vec<f32>);

impl Form {
    /// Returns the length in bytes of a tensor of `count` numbers in this form.
    pub const fn len(self, count: usize) -> usize {
        match self {
            Self::Exact => count * 4,
            Self::EightBit => HEAD + count,
            Self::FourBit => HEAD + count.div_ceil(2),
        }
    }

    /// Returns the name that machines read, such as `eight_bit`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::EightBit => "eight_bit",
            Self::FourBit => "four_bit",
        }
    }

    const fn steps(self) -> Option<f32> {
        match self {
            Self::Exact => None,
            Self::EightBit => Some(255.0),
            Self::FourBit => Some(15.0),
        }
    }
}

/// The scale and the zero point before the codes.
const HEAD: usize = 8;

impl TensorRef {
    /// Returns its id: the hash of the hashes of its forms, so that nobody gives another's tensor a
    /// coarse form that is not its own.
    pub fn id(&self) -> ContentId {
        let Hashes { count, exact, eight_bit, four_bit } = &self.tensor;
        let mut text = count.to_be_bytes().to_vec();
        for hash in [exact, eight_bit, four_bit] {
            text.extend(hash.as_bytes());
        }
        ContentId::of(&text)
    }

    /// Returns how many numbers it has.
    pub const fn count(&self) -> usize {
        self.tensor.count as usize
    }

    pub(crate) fn check(&self) -> Result<(), ValueError> {
        let fits = (1..=MAX_NUMBERS).contains(&self.count());
        fits.then_some(()).ok_or(ValueError::Tensor)
    }

    /// Returns whether these bytes are the tensor in this form.
    pub fn fits(&self, form: Form, bytes: &[u8]) -> bool {
        let hash = match form {
            Form::Exact => self.tensor.exact,
            Form::EightBit => self.tensor.eight_bit,
            Form::FourBit => self.tensor.four_bit,
        };
        bytes.len() == form.len(self.count()) && ContentId::of(bytes) == hash
    }

    /// Reads the numbers out of bytes that fit; what a coarse form lost stays lost.
    pub fn read(&self, form: Form, bytes: &[u8]) -> Vec<f32> {
        read(form, bytes, self.count())
    }
}

impl Tensor {
    /// Makes a tensor of numbers.
    ///
    /// # Errors
    ///
    /// [`ValueError::Tensor`] when there are none or too many, one is not finite, or they lie so far
    /// apart that their distance is not.
    pub fn new(numbers: Vec<f32>) -> Result<Self, ValueError> {
        let (min, max) = range(&numbers);
        let good = (1..=MAX_NUMBERS).contains(&numbers.len())
            && numbers.iter().all(|it| it.is_finite())
            && (max - min).is_finite();
        good.then_some(Self(numbers)).ok_or(ValueError::Tensor)
    }

    /// Returns what an entry says of it.
    pub fn named(&self) -> TensorRef {
        let hash = |form| ContentId::of(&self.bytes(form));
        TensorRef {
            tensor: Hashes {
                count: u32::try_from(self.0.len()).unwrap_or(u32::MAX),
                exact: hash(Form::Exact),
                eight_bit: hash(Form::EightBit),
                four_bit: hash(Form::FourBit),
            },
        }
    }

    /// Writes the tensor in a form (origins 4.1, "8 bit" and "4 bit"): scale = (max − min) / steps,
    /// zero point = min, code = (v − min) / scale, cut to a whole number; a constant tensor has scale
    /// 0 and codes 0; of two codes in a byte the first is the high half, an odd tail is padded with 0.
    pub fn bytes(&self, form: Form) -> Vec<u8> {
        let Some(steps) = form.steps() else {
            return self.0.iter().flat_map(|it| it.to_le_bytes()).collect();
        };
        let (min, max) = range(&self.0);
        // Of the two zeros the plain one, so that every machine writes the same bytes.
        let min = min + 0.0;
        let scale = (max - min) / steps;
        let code = |it: &f32| match scale > 0.0 {
            // The seed cuts; the range is 0 to 255.
            true => ((it - min) / scale).clamp(0.0, steps) as u8,
            false => 0,
        };
        let mut bytes = Vec::with_capacity(form.len(self.0.len()));
        bytes.extend(scale.to_le_bytes());
        bytes.extend(min.to_le_bytes());
        match form {
            Form::FourBit => bytes.extend(self.0.chunks(2).map(|pair| {
                let low = pair.get(1).map_or(0, code);
                pair.first().map_or(0, code) << 4 | low
            })),
            Form::EightBit | Form::Exact => bytes.extend(self.0.iter().map(code)),
        }
        bytes
    }
}

fn range(numbers: &[f32]) -> (f32, f32) {
    let fold = |(min, max): (f32, f32), it: &f32| (min.min(*it), max.max(*it));
    numbers.iter().fold((f32::INFINITY, f32::NEG_INFINITY), fold)
}

fn read(form: Form, bytes: &[u8], count: usize) -> Vec<f32> {
    let float = |it: &[u8]| it.try_into().map_or(0.0, f32::from_le_bytes);
    if form == Form::Exact {
        return bytes.chunks_exact(4).take(count).map(float).collect();
    }
    let (head, codes) = bytes.split_at(HEAD.min(bytes.len()));
    let (scale, min) = head.split_at(4.min(head.len()));
    let (scale, min) = (float(scale), float(min));
    let number = |code: u8| f32::from(code) * scale + min;
    match form {
        Form::FourBit => {
            let both = |it: &u8| [number(it >> 4), number(it & 15)];
            codes.iter().flat_map(both).take(count).collect()
        }
        Form::EightBit | Form::Exact => codes.iter().take(count).map(|it| number(*it)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn another_coarse_form_is_another_tensor() {
        let (one, other) = (Tensor::new(vec![1.0, 2.0]).unwrap(), Tensor::new(vec![1.0]).unwrap());
        let mut named = one.named();
        let id = named.id();
        assert_eq!(one.named().id(), id);
        named.tensor.four_bit = other.named().tensor.four_bit;
        assert_ne!(named.id(), id);
    }

    #[test]
    fn codes_are_those_of_the_seed() {
        let tensor = Tensor::new(vec![-1.0, 0.0, 1.0]).unwrap();
        // 127.5, 254.99 and 14.99 are cut, not rounded.
        assert_eq!(tensor.bytes(Form::EightBit)[HEAD..], [0, 127, 254]);
        assert_eq!(tensor.bytes(Form::FourBit)[HEAD..], [0x07, 0xe0]);
        let flat = Tensor::new(vec![3.0; 3]).unwrap();
        assert_eq!(
            flat.bytes(Form::EightBit),
            [&[0; 4][..], &3_f32.to_le_bytes(), &[0; 3]].concat()
        );
        assert_eq!(read(Form::EightBit, &flat.bytes(Form::EightBit), 3), [3.0; 3]);
        assert!(Tensor::new(Vec::new()).is_err() && Tensor::new(vec![f32::NAN]).is_err());
        assert!(Tensor::new(vec![f32::MAX, f32::MIN]).is_err());
    }

    proptest! {
        #[test]
        fn what_is_lost_is_below_one_step(numbers in prop::collection::vec(-1e6_f32..1e6, 1..200)) {
            let tensor = Tensor::new(numbers.clone()).unwrap();
            let named = tensor.named();
            let (min, max) = range(&numbers);
            for (form, steps) in [(Form::EightBit, 255.0), (Form::FourBit, 15.0)] {
                let bytes = tensor.bytes(form);
                prop_assert!(named.fits(form, &bytes));
                for (was, is) in numbers.iter().zip(named.read(form, &bytes)) {
                    prop_assert!((was - is).abs() <= (max - min) / steps * 1.01, "{was} {is}");
                }
            }
            let exact = tensor.bytes(Form::Exact);
            prop_assert!(named.fits(Form::Exact, &exact) && !named.fits(Form::EightBit, &exact));
            prop_assert_eq!(named.read(Form::Exact, &exact), numbers);
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..40), count in 0_usize..50) {
            for form in [Form::Exact, Form::EightBit, Form::FourBit] {
                prop_assert!(read(form, &bytes, count).len() <= count);
            }
        }
    }
}
