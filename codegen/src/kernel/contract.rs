//! Contractions: what a matrix product or a convolution computes, with the layouts of its operands.
//!
//! A kernel names its buffers by argument number (inputs first, outputs last, in the order in which the
//! launch passes them) and says through an [`Access`] where each element of its domain stands, so that
//! transposes, slices and broadcasts of operands and results cost nothing. What follows the sum (bias,
//! activation, residual, conversion) is the [`Epilogue`]'s scalar function.
//!
//! Sizes may be symbolic; known ones become constants of the code. Weights that are constant are laid
//! out at compile time: `pack` of the kernel rearranges the tensor and turns the operand into
//! [`Operand::Packed`]; the packed tensor then takes the place of the argument.
use sardonyx_ir::scalar::Scalar;
use sardonyx_tensor::{DType, Dim};

/// Where the elements of a domain stand in a buffer: element `(i0, i1, …)` at `offset + Σ strides[k]·i_k`,
/// counted in elements. A stride of 0 broadcasts.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    /// The number of the launch's buffer argument.
    pub arg: usize,
    /// The type of the buffer's elements.
    pub dtype: DType,
    /// The place of element `(0, 0, …)`.
    pub offset: Dim,
    /// One stride per index of the domain.
    pub strides: Vec<Dim>,
}

impl Access {
    /// The row-major access to a buffer of exactly this shape.
    pub fn row_major(arg: usize, dtype: DType, shape: &[Dim]) -> Access {
        let mut strides = vec![Dim::ONE; shape.len()];
        for i in (1..shape.len()).rev() {
            strides[i - 1] = &strides[i] * &shape[i];
        }
        Access { arg, dtype, offset: Dim::ZERO, strides }
    }

    /// One element for the whole domain of `rank` indices.
    pub fn scalar(arg: usize, dtype: DType, rank: usize) -> Access {
        Access { arg, dtype, offset: Dim::ZERO, strides: vec![Dim::ZERO; rank] }
    }

    /// The element at constant indices of the leading part of the domain: an access over what is left.
    pub fn fix(&self, leading: &[Dim]) -> Access {
        let moved: Dim = leading.iter().zip(&self.strides).map(|(i, s)| i * s).sum();
        Access {
            offset: &self.offset + moved,
            strides: self.strides[leading.len()..].to_vec(),
            ..self.clone()
        }
    }
}

/// What happens to each element of the result: `out[i] = f(sum[i], accesses[0][i], accesses[1][i], …)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Epilogue {
    /// Loads over the output's domain: the arguments of `f` after the sum.
    pub accesses: Vec<Access>,
    /// The function. Its argument 0 has the kernel's accumulator type, the others the types of their
    /// accesses, with types narrower than f32 widened to f32.
    pub f: Scalar,
    /// Where the result is stored, converted to this access' type.
    pub out: Access,
}

impl Epilogue {
    /// Stores the sum as it is.
    pub fn store(out: Access) -> Epilogue {
        Epilogue { accesses: vec![], f: Scalar::build(1, |_, x| x[0]), out }
    }

    /// The accesses and the output, each over what is left of the domain after constant leading indices.
    pub fn fix(&self, leading: &[Dim]) -> Epilogue {
        let accesses = self.accesses.iter().map(|a| a.fix(leading)).collect();
        Epilogue { accesses, f: self.f.clone(), out: self.out.fix(leading) }
    }
}

/// An operand of a contraction: read where it stands, or laid out for the kernel at compile time.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// Read (or packed while running) through its strides.
    Strided(Access),
    /// A constant in panels.
    Packed(Panels),
}

impl Operand {
    /// The number of the buffer argument.
    pub fn arg(&self) -> usize {
        match self {
            Operand::Strided(access) => access.arg,
            Operand::Packed(panels) => panels.arg,
        }
    }
}

/// A matrix of `k` by `wide` in panels: panel `p` holds for each `k` the `width` neighbouring elements from
/// `p·width` on, zeros beyond the end. So element `(k, w)` stands at
/// `(w / width)·(depth·width) + k·width + w % width`.
#[derive(Clone, Debug, PartialEq)]
pub struct Panels {
    /// The number of the launch's buffer argument.
    pub arg: usize,
    /// The type of the elements, which is the accumulator's.
    pub dtype: DType,
    /// Elements side by side in a panel.
    pub width: i64,
    /// One stride per batch (or group) index, in elements; 0 broadcasts.
    pub strides: Vec<i64>,
}

/// A batched matrix product: `out[batch.., i, j] = f(Σ_k a[batch.., i, k] · b[batch.., k, j], …)`.
///
/// Operands and result may have any strides, and stride 0 in batch indices. The accumulator is f32 for
/// f32 and narrower floats, f64 for f64, i32 for integers of at most 32 bits, i64 for wider ones.
/// Both operands have the same element type, except that integers may differ in sign and width.
#[derive(Clone, Debug, PartialEq)]
pub struct Gemm {
    /// Batch sizes, outermost first; may be empty.
    pub batch: Vec<Dim>,
    /// Rows of the result.
    pub m: Dim,
    /// Columns of the result.
    pub n: Dim,
    /// The length of the sums.
    pub k: Dim,
    /// Over `batch.., m, k`; panels are of rows (`wide` = m).
    pub a: Operand,
    /// Over `batch.., k, n`; panels are of columns (`wide` = n).
    pub b: Operand,
    /// Over `batch.., m, n`.
    pub epilogue: Epilogue,
}

/// A convolution over 1 to 3 spatial dimensions:
/// `out[n, c, o..] = f(Σ_{i, t..} w[g, c, i, t..] · x[n, g·in_channels + i, p..], …)`, where `g` is the group
/// of output channel `c`, and `p = o·stride + t·dilation - pad`; elements outside the input are 0.
///
/// Transposed: the sum is over the `(t.., p..)` with `o = p·stride + t·dilation - pad`. Output padding needs
/// no mention: it is contained in `output`.
///
/// Floats only (f32, f16, bf16, accumulated in f32; f64 in f64) or 8-bit integers (accumulated in i32).
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Images.
    pub batch: Dim,
    /// Groups of channels.
    pub groups: i64,
    /// Input channels of a group.
    pub in_channels: i64,
    /// Output channels of a group.
    pub out_channels: i64,
    /// Spatial sizes of the input.
    pub input: Vec<Dim>,
    /// Spatial sizes of the output.
    pub output: Vec<Dim>,
    /// Taps per spatial dimension.
    pub kernel: Vec<i64>,
    /// Strides per spatial dimension.
    pub strides: Vec<i64>,
    /// Padding before the first element, per spatial dimension (that after the last follows from `output`).
    pub pads: Vec<i64>,
    /// Dilations per spatial dimension.
    pub dilations: Vec<i64>,
    /// Whether it is the transposed convolution.
    pub transposed: bool,
    /// Over `n, channel, spatial..`; channels of all groups.
    pub x: Access,
    /// Over `group, out channel of the group, in channel of the group, taps..` ([`Conv::weights`] makes it
    /// from ONNX's layouts).
    pub w: Operand,
    /// Over `n, channel, spatial..` of the output; channels of all groups.
    pub epilogue: Epilogue,
}

impl Conv {
    /// The access of a row-major weight tensor as ONNX has it: `[groups·out, in, taps..]`, or
    /// `[groups·in, out, taps..]` for a transposed convolution.
    pub fn weights(
        arg: usize,
        dtype: DType,
        groups: i64,
        out: i64,
        input: i64,
        kernel: &[i64],
        transposed: bool,
    ) -> Access {
        let shape: Vec<Dim> =
            [groups, if transposed { input } else { out }, if transposed { out } else { input }]
                .iter()
                .chain(kernel)
                .map(|&d| Dim::from(d))
                .collect();
        let mut access = Access::row_major(arg, dtype, &shape);
        if transposed {
            access.strides.swap(1, 2);
        }
        access
    }
}

/// The type in which sums of products of `a` and `b` are accumulated.
pub fn accumulator(a: DType, b: DType) -> DType {
    match () {
        () if a == DType::F64 || b == DType::F64 => DType::F64,
        () if a.is_float() => DType::F32,
        () if a.size().max(b.size()) > 4 => DType::I64,
        () => DType::I32,
    }
}
