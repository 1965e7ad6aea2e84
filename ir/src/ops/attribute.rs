//! Attributes of ops: how each type of attribute prints, parses, and carries symbolic dimensions.
use crate::graph::Graph;
use crate::text::{Parser, Result};
use crate::types::Type;
use sardonyx_tensor::{DType, Dim, Tensor};
use std::fmt::Write;

/// A type that can stand as an attribute in the op table.
pub trait Attribute: Clone + PartialEq {
    /// Writes the value as [`Attribute::parse`] reads it.
    fn print(&self, out: &mut String);
    /// Reads a value.
    fn parse(p: &mut Parser) -> Result<Self>;
    /// Replaces every symbolic dimension in it.
    fn map_dims(&mut self, _f: &mut dyn FnMut(&Dim) -> Dim) {}
    /// The sub-graph it is, if it is one.
    fn region(&self) -> Option<&Graph> {
        None
    }
    /// As [`Attribute::region`], to change it.
    fn region_mut(&mut self) -> Option<&mut Graph> {
        None
    }
}

impl Attribute for i64 {
    fn print(&self, out: &mut String) {
        write!(out, "{self}").expect("a string should take text");
    }
    fn parse(p: &mut Parser) -> Result<i64> {
        p.integer()
    }
}

impl Attribute for f64 {
    fn print(&self, out: &mut String) {
        write!(out, "{self:?}").expect("a string should take text");
    }
    fn parse(p: &mut Parser) -> Result<f64> {
        p.number()
    }
}

impl Attribute for bool {
    fn print(&self, out: &mut String) {
        write!(out, "{self}").expect("a string should take text");
    }
    fn parse(p: &mut Parser) -> Result<bool> {
        match p.word()? {
            "true" => Ok(true),
            "false" => Ok(false),
            w => Err(p.error(format!("expected true or false, not `{w}`"))),
        }
    }
}

impl Attribute for String {
    fn print(&self, out: &mut String) {
        write!(out, "{self:?}").expect("a string should take text");
    }
    fn parse(p: &mut Parser) -> Result<String> {
        p.quoted()
    }
}

impl Attribute for DType {
    fn print(&self, out: &mut String) {
        out.push_str(self.name());
    }
    fn parse(p: &mut Parser) -> Result<DType> {
        p.dtype()
    }
}

impl Attribute for Dim {
    fn print(&self, out: &mut String) {
        write!(out, "{self}").expect("a string should take text");
    }
    fn parse(p: &mut Parser) -> Result<Dim> {
        p.dim()
    }
    fn map_dims(&mut self, f: &mut dyn FnMut(&Dim) -> Dim) {
        *self = f(self);
    }
}

impl Attribute for Type {
    fn print(&self, out: &mut String) {
        write!(out, "{self}").expect("a string should take text");
    }
    fn parse(p: &mut Parser) -> Result<Type> {
        p.ty()
    }
    fn map_dims(&mut self, f: &mut dyn FnMut(&Dim) -> Dim) {
        self.shape.iter_mut().for_each(|d| *d = f(d));
    }
}

impl<T: Attribute> Attribute for Vec<T> {
    fn print(&self, out: &mut String) {
        out.push('[');
        for (i, x) in self.iter().enumerate() {
            out.push_str(if i > 0 { ", " } else { "" });
            x.print(out);
        }
        out.push(']');
    }
    fn parse(p: &mut Parser) -> Result<Vec<T>> {
        p.expect("[")?;
        p.list("]", T::parse)
    }
    fn map_dims(&mut self, f: &mut dyn FnMut(&Dim) -> Dim) {
        self.iter_mut().for_each(|x| x.map_dims(f));
    }
}

impl Attribute for Box<Graph> {
    fn print(&self, out: &mut String) {
        crate::text::print_region(self, out);
    }
    fn parse(p: &mut Parser) -> Result<Box<Graph>> {
        p.region().map(Box::new)
    }
    fn region(&self) -> Option<&Graph> {
        Some(self)
    }
    fn region_mut(&mut self) -> Option<&mut Graph> {
        Some(self)
    }
}

/// Declares an enum of words that can stand as an attribute.
macro_rules! words { ($( $(#[doc = $doc:literal])* $Name:ident { $( $(#[doc = $d:literal])* $Variant:ident = $word:literal ),* $(,)? } )*) => { $(
    $(#[doc = $doc])*
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    #[allow(missing_docs)]
    pub enum $Name { #[default] $( $(#[doc = $d])* $Variant ),* }
    impl $Name {
        /// Every value.
        pub const ALL: &'static [$Name] = &[$($Name::$Variant),*];
        /// The word in the text form.
        pub fn name(self) -> &'static str { match self { $($Name::$Variant => $word),* } }
        /// The value with that word.
        pub fn from_name(word: &str) -> Option<$Name> { match word { $($word => Some($Name::$Variant),)* _ => None } }
    }
    impl Attribute for $Name {
        fn print(&self, out: &mut String) { out.push_str(self.name()); }
        fn parse(p: &mut Parser) -> Result<$Name> {
            let word = p.word()?;
            $Name::from_name(word).ok_or_else(|| p.error(format!(concat!("`{}` is not one of", $(" ", $word),*), word)))
        }
    }
)* }; }

words! {
    /// How [`pad`](crate::ops::OpBuilder::pad) fills the border.
    PadMode { #[doc = "with the given value"] Constant = "constant", #[doc = "mirrored, without the edge"] Reflect = "reflect", #[doc = "with the nearest element"] Edge = "edge", #[doc = "periodically"] Wrap = "wrap" }
    /// How a scatter combines an update with what is there.
    Reduction { #[doc = "the last update wins"] Replace = "replace", Add = "add", Mul = "mul", Min = "min", Max = "max" }
    /// What becomes of the case of letters.
    LetterCase { #[doc = "it stays"] Same = "same", Lower = "lower", Upper = "upper" }
    /// What a pixel of a picture becomes.
    PixelForm { #[doc = "red, green, blue"] Rgb = "rgb", #[doc = "blue, green, red"] Bgr = "bgr", #[doc = "its luma"] Gray = "gray" }
    /// Which way a recurrent network walks the sequence.
    Direction { Forward = "forward", Reverse = "reverse", #[doc = "both, as two directions"] Both = "both" }
    /// How a resize interpolates (ONNX Resize `mode`).
    Interpolation { Nearest = "nearest", Linear = "linear", Cubic = "cubic" }
    /// How a resize maps an output coordinate to the input (ONNX Resize `coordinate_transformation_mode`).
    Coordinates { HalfPixel = "half_pixel", HalfPixelSymmetric = "half_pixel_symmetric", PytorchHalfPixel = "pytorch_half_pixel", AlignCorners = "align_corners", Asymmetric = "asymmetric", CropAndResize = "tf_crop_and_resize", TfHalfPixel = "tf_half_pixel_for_nn" }
    /// What lies outside of a tensor that is sampled (ONNX GridSample `padding_mode`).
    Padding { Zeros = "zeros", #[doc = "the nearest element"] Border = "border", #[doc = "mirrored at the border"] Reflection = "reflection" }
    /// What becomes of the samples of a bin (ONNX RoiAlign `mode`).
    RegionPooling { Average = "avg", #[doc = "the greatest weighted pixel"] Maximum = "max" }
    /// How a nearest resize rounds (ONNX Resize `nearest_mode`).
    Nearest { RoundPreferFloor = "round_prefer_floor", RoundPreferCeil = "round_prefer_ceil", Floor = "floor", Ceil = "ceil" }
}

/// A constant, and how its text stands for it.
#[derive(Clone, Debug)]
pub struct Constant {
    tensor: Tensor,
    source: Source,
}

/// Where the elements of a constant come from.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Source {
    /// From a model or a pass.
    Given,
    /// From the text `rand(seed)`.
    Random(u64),
    /// From the text `opaque(hash)`, which stands for elements too many to print.
    Opaque(u64),
}

impl Constant {
    /// The most elements that are printed one by one.
    pub const PRINTED: usize = 16;

    /// A constant with these elements.
    pub fn new(tensor: Tensor) -> Constant {
        Constant { tensor, source: Source::Given }
    }
    /// Seeded elements, as `rand(seed)` in text stands for them.
    pub fn random(seed: u64, tensor: Tensor) -> Constant {
        Constant { tensor, source: Source::Random(seed) }
    }
    /// Stand-in elements for a constant of which the text has only a hash.
    pub fn opaque(hash: u64, tensor: Tensor) -> Constant {
        Constant { tensor, source: Source::Opaque(hash) }
    }
    /// The elements.
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }
    fn hash(&self) -> u64 {
        match self.tensor.dtype() {
            t if t.is_reference() => crate::text::hash(format!("{:?}", self.tensor).as_bytes()),
            _ => crate::text::hash(self.tensor.bytes()),
        }
    }
    /// Writes what the text form has between `const` and the type.
    pub fn print(&self, out: &mut String) {
        match self.source {
            Source::Random(seed) => write!(out, "rand({seed})"),
            Source::Opaque(hash) => write!(out, "opaque({hash:#x})"),
            Source::Given if self.tensor.len() > Constant::PRINTED => {
                write!(out, "opaque({:#x})", self.hash())
            }
            Source::Given if self.tensor.dtype() == DType::String => write!(out, "{:?}", self.tensor.texts()),
            Source::Given if self.tensor.dtype() == DType::List => write!(out, "opaque({:#x})", self.hash()),
            Source::Given if self.tensor.dtype().is_float() => write!(out, "{:?}", self.tensor.to_f64s()),
            Source::Given => write!(out, "{:?}", self.tensor.to_i128s()),
        }
        .expect("a string should take text");
    }
}

impl PartialEq for Constant {
    fn eq(&self, other: &Constant) -> bool {
        self.tensor == other.tensor
    }
}
