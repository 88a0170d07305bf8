//! Plain values: what documents hold and show.

use alloc::{boxed::Box, collections::BTreeMap, string::String, vec::Vec};
use core::{cmp::Ordering, fmt};

/// A finite floating-point number, ordered and compared by value, with -0.0 below 0.0.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Float(u64);

impl Float {
    /// `None` for NaN and infinities, which JSON does not have.
    pub fn new(value: f64) -> Option<Self> {
        value.is_finite().then(|| Self(value.to_bits()))
    }

    /// The number.
    pub fn to_f64(self) -> f64 {
        f64::from_bits(self.0)
    }

    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }
}

impl PartialOrd for Float {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Float {
    fn cmp(&self, other: &Self) -> Ordering {
        self.to_f64().total_cmp(&other.to_f64())
    }
}

impl fmt::Debug for Float {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_f64(), f)
    }
}

/// A value without parts. Two scalars of different type are never equal: `1` is not `1.0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scalar {
    /// JSON `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other finite number.
    Float(Float),
    /// A string that is replaced as a whole; for one that people edit together use text.
    String(Box<str>),
}

/// A JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A value without parts.
    Scalar(Scalar),
    /// An array.
    Array(Vec<Self>),
    /// An object; keys are ordered by their bytes.
    Object(BTreeMap<String, Self>),
}

impl Value {
    /// JSON `null`.
    pub const NULL: Self = Self::Scalar(Scalar::Null);

    /// The string, if this is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Scalar(Scalar::String(text)) => Some(text),
            _ => None,
        }
    }

    /// The integer, if this is one.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Scalar(Scalar::Int(number)) => Some(*number),
            _ => None,
        }
    }

    /// The member `key`, if this is an object that has it.
    pub fn member(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.get(key),
            _ => None,
        }
    }
}

impl From<bool> for Scalar {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Scalar {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<i32> for Scalar {
    fn from(value: i32) -> Self {
        Self::Int(value.into())
    }
}

impl From<&str> for Scalar {
    fn from(value: &str) -> Self {
        Self::String(value.into())
    }
}

impl From<String> for Scalar {
    fn from(value: String) -> Self {
        Self::String(value.into())
    }
}

impl From<Float> for Scalar {
    fn from(value: Float) -> Self {
        Self::Float(value)
    }
}

impl<T: Into<Scalar>> From<T> for Value {
    fn from(value: T) -> Self {
        Self::Scalar(value.into())
    }
}
