//! Element types: one table, from which names, sizes and classes follow.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Float,
    Signed,
    Unsigned,
    Bool,
    Reference,
}

macro_rules! dtypes {
    (
        numbers { $($(#[$number_doc:meta])* $number:ident $number_name:literal $number_class:ident $number_bits:literal $number_bytes:literal;)* }
        references { $($(#[$reference_doc:meta])* $reference:ident $reference_name:literal;)* }
    ) => {
        dtypes! { @all
            $($(#[$number_doc])* $number $number_name $number_class $number_bits $number_bytes;)*
            $($(#[$reference_doc])* $reference $reference_name Reference 64 8;)*
        }

        impl DType {
            /// The element types of numbers and truth values, in the order of the table.
            pub const ALL: &[DType] = &[$(DType::$number),*];

            /// The element types whose elements refer to something in a [`Heap`](crate::Heap).
            pub const REFERENCES: &[DType] = &[$(DType::$reference),*];
        }
    };
    (@all $($(#[$doc:meta])* $variant:ident $name:literal $class:ident $bits:literal $bytes:literal;)*) => {
        /// The type of a tensor's elements.
        ///
        /// In memory every element takes at least one byte: types of four and two bits are stored one
        /// element per byte, sign-extended when signed.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DType {
            $($(#[$doc])* $variant,)*
        }

        impl DType {
            /// The name used in graph text and manifests, such as `f32`.
            pub const fn name(self) -> &'static str {
                match self { $(DType::$variant => $name,)* }
            }

            /// Bytes one element takes in memory.
            pub const fn size(self) -> usize {
                match self { $(DType::$variant => $bytes,)* }
            }

            /// Bits that carry information; 1 for `bool`.
            pub const fn bits(self) -> u32 {
                match self { $(DType::$variant => $bits,)* }
            }

            const fn class(self) -> Class {
                match self { $(DType::$variant => Class::$class,)* }
            }
        }
    };
}

dtypes! {
numbers {
    /// IEEE double precision.
    F64 "f64" Float 64 8;
    /// IEEE single precision.
    F32 "f32" Float 32 4;
    /// IEEE half precision.
    F16 "f16" Float 16 2;
    /// The upper half of a single.
    BF16 "bf16" Float 16 2;
    /// 4 exponent bits, finite, with NaN.
    F8E4M3FN "f8e4m3fn" Float 8 1;
    /// 4 exponent bits, finite, one NaN, no negative zero.
    F8E4M3FNUZ "f8e4m3fnuz" Float 8 1;
    /// 5 exponent bits, with infinities.
    F8E5M2 "f8e5m2" Float 8 1;
    /// 5 exponent bits, finite, one NaN, no negative zero.
    F8E5M2FNUZ "f8e5m2fnuz" Float 8 1;
    /// A power of two: the scale of the MX formats.
    F8E8M0 "f8e8m0" Float 8 1;
    /// 2 exponent bits and one of mantissa.
    F4E2M1 "f4e2m1" Float 4 1;
    /// Signed, 64 bits.
    I64 "i64" Signed 64 8;
    /// Signed, 32 bits.
    I32 "i32" Signed 32 4;
    /// Signed, 16 bits.
    I16 "i16" Signed 16 2;
    /// Signed, 8 bits.
    I8 "i8" Signed 8 1;
    /// Signed, 4 bits.
    I4 "i4" Signed 4 1;
    /// Signed, 2 bits.
    I2 "i2" Signed 2 1;
    /// Unsigned, 64 bits.
    U64 "u64" Unsigned 64 8;
    /// Unsigned, 32 bits.
    U32 "u32" Unsigned 32 4;
    /// Unsigned, 16 bits.
    U16 "u16" Unsigned 16 2;
    /// Unsigned, 8 bits.
    U8 "u8" Unsigned 8 1;
    /// Unsigned, 4 bits.
    U4 "u4" Unsigned 4 1;
    /// Unsigned, 2 bits.
    U2 "u2" Unsigned 2 1;
    /// One byte, 0 or 1.
    Bool "bool" Bool 1 1;
}
references {
    /// A text in UTF-8: its number in a heap, in which equal texts have the same number.
    String "string";
    /// A list of tensors: its number in a heap.
    List "list";
}
}

impl DType {
    /// Whether this is a floating-point type of any width.
    pub const fn is_float(self) -> bool {
        matches!(self.class(), Class::Float)
    }

    /// Whether this is a signed or unsigned integer type; `bool` is not.
    pub const fn is_int(self) -> bool {
        matches!(self.class(), Class::Signed | Class::Unsigned)
    }

    /// Whether this is a signed integer type.
    pub const fn is_signed(self) -> bool {
        matches!(self.class(), Class::Signed)
    }

    /// Whether this is an unsigned integer type; `bool` is not.
    pub const fn is_unsigned(self) -> bool {
        matches!(self.class(), Class::Unsigned)
    }

    /// Whether elements are numbers of something in a [`Heap`](crate::Heap), without arithmetic.
    pub const fn is_reference(self) -> bool {
        matches!(self.class(), Class::Reference)
    }

    /// The least and the greatest value of an integer type or `bool`.
    ///
    /// # Panics
    /// For floating-point types.
    pub const fn int_range(self) -> (i128, i128) {
        match self.class() {
            Class::Float => panic!("a floating-point type has no integer range"),
            Class::Signed => (-(1 << (self.bits() - 1)), (1 << (self.bits() - 1)) - 1),
            Class::Unsigned | Class::Bool | Class::Reference => (0, (1 << self.bits()) - 1),
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Debug for DType {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The error of parsing the name of an element type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown element type `{0}`")]
pub struct UnknownDType(pub String);

impl FromStr for DType {
    type Err = UnknownDType;

    fn from_str(name: &str) -> Result<Self, UnknownDType> {
        let mut all = DType::ALL.iter().chain(DType::REFERENCES).copied();
        all.find(|d| d.name() == name).ok_or_else(|| UnknownDType(name.to_string()))
    }
}

impl Serialize for DType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for DType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<str>::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back() {
        for &dtype in DType::ALL.iter().chain(DType::REFERENCES) {
            assert_eq!(dtype.name().parse(), Ok(dtype));
            assert!(dtype.size() * 8 >= dtype.bits() as usize);
        }
        assert!("f33".parse::<DType>().is_err());
    }

    #[test]
    fn ranges_of_integers() {
        assert_eq!(DType::I4.int_range(), (-8, 7));
        assert_eq!(DType::U2.int_range(), (0, 3));
        assert_eq!(DType::I64.int_range(), (i64::MIN.into(), i64::MAX.into()));
        assert_eq!(DType::U64.int_range(), (0, u64::MAX.into()));
        assert_eq!(DType::Bool.int_range(), (0, 1));
        assert!(!DType::Bool.is_int() && !DType::Bool.is_unsigned() && DType::F4E2M1.is_float());
    }
}
