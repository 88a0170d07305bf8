use core::fmt;
use core::str::FromStr;

use crate::base32;
use crate::node_id::{IdError, base32_short::Short};

macro_rules! hash_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Takes a hash as it is: every value is one.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The hash.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The first twelve characters, for people.
            pub fn short(&self) -> impl fmt::Display + use<> {
                Short(self.0, 12)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Ok(Self(base32::decode(text)?))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                base32::write(f, &self.0, base32::LEN)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                base32::write(f, &self.0, 12)
            }
        }
    };
}

hash_id! {
    /// The name of an operation or statement: the BLAKE3 of its signed bytes (rule ID-7). Shown as 52 base32 characters.
    OpId
}

hash_id! {
    /// The name of a space: the [`OpId`] of its genesis statement (rule ID-8). Shown as 52 base32 characters.
    SpaceId
}

impl OpId {
    /// Names the bytes of a signed thing, signature included.
    pub fn of(signed_bytes: &[u8]) -> Self {
        Self(*blake3::hash(signed_bytes).as_bytes())
    }
}

impl SpaceId {
    /// The genesis statement that this space is named after.
    pub const fn genesis(&self) -> OpId {
        OpId(self.0)
    }
}

impl From<OpId> for SpaceId {
    fn from(genesis: OpId) -> Self {
        Self(genesis.0)
    }
}
