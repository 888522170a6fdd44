//! Reading GGUF model files (versions 2 and 3), which strangers may have written.
//!
//! Invariant: nothing is allocated because a file announces it; every count, length and offset is
//! checked against the bytes that are really there.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;
use sedge_base::ErrorKind;

/// The longest string in the metadata, in bytes; chat templates are the longest real ones.
const MAX_STRING: u64 = 1 << 20;
/// The most metadata entries and tensors.
const MAX_ENTRIES: u64 = 1 << 16;
/// The most dimensions of a tensor.
const MAX_DIMENSIONS: u32 = 4;

/// Why a file is not a model that can be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// The operating system refused.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: String,
        /// What it said.
        source: std::io::Error,
    },
    /// The file does not begin like a GGUF file.
    #[error("this is not a GGUF file")]
    NotGguf,
    /// The version is one that this release does not read.
    #[error("GGUF version {version} is not read here, only 2 and 3")]
    Version {
        /// The file's version.
        version: u32,
    },
    /// The file ends too early.
    #[error("the file ends early, in {place}")]
    Short {
        /// Where in the file.
        place: &'static str,
    },
    /// A number in the file cannot be.
    #[error("{what} is {got}, and may be at most {most}")]
    TooLarge {
        /// What the number is of.
        what: &'static str,
        /// The number.
        got: u64,
        /// The most that is taken.
        most: u64,
    },
    /// A part of the file is malformed.
    #[error("{what} is malformed")]
    Malformed {
        /// Which part.
        what: String,
    },
    /// The file lacks something.
    #[error("the file has no {what}")]
    Missing {
        /// What.
        what: String,
    },
    /// A tensor is stored in a format that this release does not compute with.
    #[error(
        "tensor `{tensor}` is stored as {format}, which is not computed with here; use Q4_0, Q4_1, Q8_0, F16 or F32"
    )]
    Format {
        /// Which tensor.
        tensor: String,
        /// The format's name or number.
        format: String,
    },
}

impl GgufError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                ErrorKind::NotFound
            }
            Self::Read { .. } => ErrorKind::Unavailable,
            Self::Version { .. } | Self::Format { .. } => ErrorKind::Unsupported,
            _ => ErrorKind::Corrupt,
        }
    }
}

/// A value of the metadata. Whole numbers of every width are kept in the widest.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A whole number that is not negative.
    Unsigned(u64),
    /// A whole number.
    Signed(i64),
    /// A number with a fraction.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A text.
    Text(String),
    /// A list of values of one type.
    List(Vec<Self>),
}

/// How a tensor's numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// Blocks of 32: a scale and 4-bit numbers around 8.
    Q4_0,
    /// Blocks of 32: a scale, a minimum and 4-bit numbers.
    Q4_1,
    /// Blocks of 32: a scale and 8-bit numbers.
    Q8_0,
}

impl Format {
    fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::F32),
            1 => Some(Self::F16),
            2 => Some(Self::Q4_0),
            3 => Some(Self::Q4_1),
            8 => Some(Self::Q8_0),
            _ => None,
        }
    }

    /// Returns how many numbers a block has and how many bytes it takes.
    pub const fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 => (1, 2),
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q8_0 => (32, 34),
        }
    }

    /// Returns the name that people know, such as `Q4_1`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q8_0 => "Q8_0",
        }
    }
}

/// Names of formats that others write, for the refusal.
fn format_name(number: u32) -> String {
    let known = match number {
        6 => "Q5_0",
        7 => "Q5_1",
        10 => "Q2_K",
        11 => "Q3_K",
        12 => "Q4_K",
        13 => "Q5_K",
        14 => "Q6_K",
        30 => "BF16",
        other => return format!("number {other}"),
    };
    known.to_owned()
}

#[derive(Debug, Clone)]
struct Listed {
    format: u32,
    dimensions: Vec<usize>,
    offset: u64,
}

/// One tensor: a matrix of `rows` × `columns`, row by row, in its stored format.
#[derive(Debug, Clone, Copy)]
pub struct Tensor<'a> {
    /// How the numbers are stored.
    pub format: Format,
    /// The length of a row; GGUF's first dimension.
    pub columns: usize,
    /// How many rows; 1 for a vector.
    pub rows: usize,
    /// The stored bytes, exactly as many as format and size need.
    pub bytes: &'a [u8],
}

#[derive(Debug, Clone)]
enum Content {
    Mapped(Arc<Mmap>),
    Owned(Arc<[u8]>),
}

impl Content {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// A model file: its metadata and where its tensors lie.
#[derive(Debug, Clone)]
pub struct Gguf {
    content: Content,
    metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, Listed>,
    data: usize,
}

impl Gguf {
    /// Opens a file by mapping it into memory.
    ///
    /// # Errors
    ///
    /// See [`GgufError`].
    pub fn open(path: &Path) -> Result<Self, GgufError> {
        let read = |source| GgufError::Read { path: path.display().to_string(), source };
        let file = File::open(path).map_err(read)?;
        #[expect(unsafe_code, reason = "mapping a file has no safe form")]
        // SAFETY: the map is only read, as plain bytes of which every value is valid. Model files
        // are kept by content and replaced by renaming, never written in place; should somebody
        // truncate one all the same, the system ends this process, which corrupts nothing.
        let map = unsafe { Mmap::map(&file) }.map_err(read)?;
        Self::read(Content::Mapped(Arc::new(map)))
    }

    /// Reads a model from bytes in memory.
    ///
    /// # Errors
    ///
    /// See [`GgufError`].
    pub fn from_bytes(bytes: impl Into<Arc<[u8]>>) -> Result<Self, GgufError> {
        Self::read(Content::Owned(bytes.into()))
    }

    fn read(content: Content) -> Result<Self, GgufError> {
        let bytes = content.bytes();
        let mut cursor = Cursor { bytes, at: 0 };
        if cursor.take(4, "the magic number").ok() != Some(b"GGUF") {
            return Err(GgufError::NotGguf);
        }
        let version = cursor.u32("the version")?;
        if !(2..=3).contains(&version) {
            return Err(GgufError::Version { version });
        }
        let tensor_count = cursor.count("the number of tensors", MAX_ENTRIES)?;
        let entry_count = cursor.count("the number of metadata entries", MAX_ENTRIES)?;
        let mut metadata = BTreeMap::new();
        for _ in 0..entry_count {
            let key = cursor.text("a metadata key")?;
            let kind = cursor.u32("a metadata type")?;
            let value = cursor.value(kind, &key)?;
            metadata.insert(key, value);
        }
        let mut tensors = BTreeMap::new();
        for _ in 0..tensor_count {
            let name = cursor.text("a tensor's name")?;
            let count = cursor.u32("a tensor's dimensions")?;
            if count > MAX_DIMENSIONS {
                let (got, most) = (u64::from(count), u64::from(MAX_DIMENSIONS));
                return Err(GgufError::TooLarge { what: "a tensor's dimensions", got, most });
            }
            let mut dimensions = Vec::new();
            for _ in 0..count {
                let size = cursor.u64("a tensor's size")?;
                let size = usize::try_from(size).ok().filter(|it| *it > 0);
                dimensions.push(size.ok_or_else(|| malformed(&format!("tensor `{name}`")))?);
            }
            let format = cursor.u32("a tensor's format")?;
            let offset = cursor.u64("a tensor's offset")?;
            tensors.insert(name, Listed { format, dimensions, offset });
        }
        let alignment = match metadata.get("general.alignment") {
            Some(Value::Unsigned(it)) if it.is_power_of_two() && *it <= 4096 => *it as usize,
            None => 32,
            Some(_) => return Err(malformed("`general.alignment`")),
        };
        let data = cursor.at.next_multiple_of(alignment);
        Ok(Self { metadata, tensors, data, content })
    }

    /// Returns a value of the metadata.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// Returns a text of the metadata.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.value(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Returns a whole number of the metadata.
    pub fn number(&self, key: &str) -> Option<u64> {
        match self.value(key) {
            Some(Value::Unsigned(it)) => Some(*it),
            Some(Value::Signed(it)) => u64::try_from(*it).ok(),
            _ => None,
        }
    }

    /// Returns a number of the metadata.
    pub fn float(&self, key: &str) -> Option<f64> {
        match self.value(key) {
            Some(Value::Float(it)) => Some(*it),
            _ => None,
        }
    }

    /// Returns a list of the metadata.
    pub fn list(&self, key: &str) -> Option<&[Value]> {
        match self.value(key) {
            Some(Value::List(it)) => Some(it),
            _ => None,
        }
    }

    /// Returns the whole file's bytes.
    pub fn bytes(&self) -> &[u8] {
        self.content.bytes()
    }

    /// Returns the names of all tensors.
    pub fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Returns whether there is a tensor of that name.
    pub fn has_tensor(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Returns how many numbers all tensors have together.
    pub fn parameters(&self) -> u64 {
        let count = |it: &Listed| {
            it.dimensions.iter().fold(1_u64, |all, size| all.saturating_mul(*size as u64))
        };
        self.tensors.values().map(count).fold(0, u64::saturating_add)
    }

    /// Returns a tensor.
    ///
    /// # Errors
    ///
    /// [`GgufError`] when it is missing, in a format that is not computed with, or cut off.
    pub fn tensor(&self, name: &str) -> Result<Tensor<'_>, GgufError> {
        let listed = self
            .tensors
            .get(name)
            .ok_or_else(|| GgufError::Missing { what: format!("tensor `{name}`") })?;
        let format = Format::from_number(listed.format).ok_or_else(|| GgufError::Format {
            tensor: name.to_owned(),
            format: format_name(listed.format),
        })?;
        let wrong = || malformed(&format!("tensor `{name}`"));
        let columns = *listed.dimensions.first().ok_or_else(wrong)?;
        let rows = listed.dimensions[1..]
            .iter()
            .try_fold(1_usize, |all, it| all.checked_mul(*it))
            .ok_or_else(wrong)?;
        let (block, size) = format.block();
        if columns % block != 0 {
            return Err(wrong());
        }
        let length = (columns / block)
            .checked_mul(size)
            .and_then(|it| it.checked_mul(rows))
            .ok_or_else(wrong)?;
        let start = usize::try_from(listed.offset)
            .ok()
            .and_then(|it| it.checked_add(self.data))
            .ok_or_else(wrong)?;
        let end = start.checked_add(length).ok_or_else(wrong)?;
        let bytes =
            self.bytes().get(start..end).ok_or(GgufError::Short { place: "a tensor's data" })?;
        Ok(Tensor { format, columns, rows, bytes })
    }
}

fn malformed(what: &str) -> GgufError {
    GgufError::Malformed { what: what.to_owned() }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize, place: &'static str) -> Result<&'a [u8], GgufError> {
        let end = self.at.checked_add(length).ok_or(GgufError::Short { place })?;
        let taken = self.bytes.get(self.at..end).ok_or(GgufError::Short { place })?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, place: &'static str) -> Result<[u8; N], GgufError> {
        self.take(N, place)?.try_into().map_err(|_| GgufError::Short { place })
    }

    fn u32(&mut self, place: &'static str) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.array(place)?))
    }

    fn u64(&mut self, place: &'static str) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.array(place)?))
    }

    fn count(&mut self, what: &'static str, most: u64) -> Result<u64, GgufError> {
        let got = self.u64(what)?;
        if got > most { Err(GgufError::TooLarge { what, got, most }) } else { Ok(got) }
    }

    fn text(&mut self, place: &'static str) -> Result<String, GgufError> {
        let length = self.count(place, MAX_STRING)?;
        let bytes = self.take(length as usize, place)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| malformed(place))
    }

    /// Reads a value; `kind` is the file's number for its type.
    fn value(&mut self, kind: u32, key: &str) -> Result<Value, GgufError> {
        if kind != 9 {
            return self.scalar(kind, key);
        }
        let inner = self.u32("a list's type")?;
        let smallest = match inner {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8,
            // A list of lists is in no model file that we know of.
            _ => return Err(malformed(&format!("the list `{key}`"))),
        };
        let left = ((self.bytes.len() - self.at) / smallest) as u64;
        let count = self.count("a list's length", left)?;
        let mut list = Vec::new();
        for _ in 0..count {
            list.push(self.scalar(inner, key)?);
        }
        Ok(Value::List(list))
    }

    fn scalar(&mut self, kind: u32, key: &str) -> Result<Value, GgufError> {
        let place = "a metadata value";
        Ok(match kind {
            0 => Value::Unsigned(self.array::<1>(place)?[0].into()),
            1 => Value::Signed(i8::from_le_bytes(self.array(place)?).into()),
            2 => Value::Unsigned(u16::from_le_bytes(self.array(place)?).into()),
            3 => Value::Signed(i16::from_le_bytes(self.array(place)?).into()),
            4 => Value::Unsigned(self.u32(place)?.into()),
            5 => Value::Signed(i32::from_le_bytes(self.array(place)?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array(place)?).into()),
            7 => Value::Bool(self.array::<1>(place)?[0] != 0),
            8 => Value::Text(self.text(place)?),
            10 => Value::Unsigned(self.u64(place)?),
            11 => Value::Signed(i64::from_le_bytes(self.array(place)?)),
            12 => Value::Float(f64::from_le_bytes(self.array(place)?)),
            _ => return Err(malformed(&format!("the type of `{key}`"))),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::tiny_model;

    #[test]
    fn the_tiny_model_is_read() {
        let gguf = Gguf::from_bytes(tiny_model(1)).unwrap();
        assert_eq!(gguf.text("general.architecture"), Some("llama"));
        assert_eq!(gguf.number("llama.block_count"), Some(2));
        assert_eq!(gguf.tensor("token_embd.weight").unwrap().columns, 64);
        assert!(matches!(gguf.tensor("none"), Err(GgufError::Missing { .. })));
    }

    #[test]
    fn other_files_are_refused() {
        assert!(matches!(Gguf::from_bytes(*b"PK\x03\x04"), Err(GgufError::NotGguf)));
        assert!(matches!(Gguf::from_bytes(*b""), Err(GgufError::NotGguf)));
        let version = Gguf::from_bytes(*b"GGUF\x01\0\0\0");
        assert!(matches!(version, Err(GgufError::Version { version: 1 })));
        let mut huge = b"GGUF\x03\0\0\0".to_vec();
        huge.extend(u64::MAX.to_le_bytes());
        assert!(matches!(Gguf::from_bytes(huge), Err(GgufError::TooLarge { .. })));
    }

    proptest! {
        #[test]
        fn damage_never_panics(
            at in prop::collection::vec((0_usize..12_000, any::<u8>()), 0..8),
            length in 0_usize..12_000,
        ) {
            let mut bytes = tiny_model(1);
            for (at, byte) in at {
                bytes[at] = byte;
            }
            bytes.truncate(length.max(4));
            if let Ok(gguf) = Gguf::from_bytes(bytes) {
                let names: Vec<_> = gguf.tensor_names().map(str::to_owned).collect();
                for name in names {
                    drop(gguf.tensor(&name));
                }
            }
        }
    }
}
