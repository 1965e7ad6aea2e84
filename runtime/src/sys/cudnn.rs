//! NVIDIA's library of networks, cuDNN.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};

use sardonyx_tensor::DType;

use super::{Address, Code, Create, Destroy, Handle, Library, LoadError};

const NAMES: &[&str] = &["libcudnn.so.9", "libcudnn.so.8"];

/// `CUDNN_TENSOR_NCHW` and `CUDNN_TENSOR_NHWC`: how weights stand.
pub(crate) const BY_PLANES: c_int = 0;
/// See [`BY_PLANES`].
pub(crate) const BY_CHANNELS: c_int = 1;
/// `CUDNN_TENSOR_OP_MATH`: matrix units for narrow floats.
pub(crate) const MATRIX_UNITS: c_int = 1;
/// `CUDNN_FMA_MATH`: f32 stays f32, without tf32.
pub(crate) const MULTIPLY_ADD: c_int = 3;
/// `CUDNN_CROSS_CORRELATION`: taps are not turned around, as ONNX has it.
pub(crate) const CORRELATION: c_int = 1;
/// `CUDNN_ACTIVATION_RELU` and `CUDNN_ACTIVATION_IDENTITY`.
pub(crate) const RELU: c_int = 1;
/// See [`RELU`].
pub(crate) const IDENTITY: c_int = 5;
/// `CUDNN_PROPAGATE_NAN`.
pub(crate) const KEEP_NAN: c_int = 1;
/// `CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM`, the only one that serves [`IDENTITY`].
pub(crate) const PRECOMPUTED: c_int = 1;
/// `CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM`.
pub(crate) const IMPLICIT: c_int = 0;

/// `cudnnSetTensor4dDescriptorEx`: type, sizes of image, channel, row and column, then their strides.
type SetTensor =
    unsafe extern "C" fn(Handle, c_int, c_int, c_int, c_int, c_int, c_int, c_int, c_int, c_int) -> Code;
/// `cudnnSetFilter4dDescriptor`: type, layout, output channels, input channels of a group, taps.
type SetFilter = unsafe extern "C" fn(Handle, c_int, c_int, c_int, c_int, c_int, c_int) -> Code;
/// `cudnnSetConvolution2dDescriptor`: padding, strides, dilations, mode, the type to compute in.
type SetConvolution =
    unsafe extern "C" fn(Handle, c_int, c_int, c_int, c_int, c_int, c_int, c_int, c_int) -> Code;
/// `cudnnGetConvolutionForwardWorkspaceSize`: input, weights, convolution, output, algorithm.
type WorkspaceSize = unsafe extern "C" fn(Handle, Handle, Handle, Handle, Handle, c_int, *mut usize) -> Code;
/// `cudnnConvolutionForward`: factor, input, weights, convolution, algorithm, workspace, factor, output.
type Forward = unsafe extern "C" fn(
    Handle,
    *const c_void,
    Handle,
    Address,
    Handle,
    Address,
    Handle,
    c_int,
    Address,
    usize,
    *const c_void,
    Handle,
    Address,
) -> Code;
/// `cudnnConvolutionBiasActivationForward`: as above up to the workspace; then a factor and what is added, the bias,
/// the activation and the output.
type ForwardActivated = unsafe extern "C" fn(
    Handle,
    *const c_void,
    Handle,
    Address,
    Handle,
    Address,
    Handle,
    c_int,
    Address,
    usize,
    *const c_void,
    Handle,
    Address,
    Handle,
    Address,
    Handle,
    Handle,
    Address,
) -> Code;

/// The functions of cuDNN.
pub(crate) struct Cudnn {
    pub create: Create,
    pub destroy: Destroy,
    pub set_stream: unsafe extern "C" fn(Handle, Handle) -> Code,
    pub tensor: (Create, Destroy),
    pub set_tensor: SetTensor,
    pub filter: (Create, Destroy),
    pub set_filter: SetFilter,
    pub convolution: (Create, Destroy),
    pub set_convolution: SetConvolution,
    pub set_groups: unsafe extern "C" fn(Handle, c_int) -> Code,
    pub set_math: unsafe extern "C" fn(Handle, c_int) -> Code,
    pub activation: (Create, Destroy),
    /// `cudnnSetActivationDescriptor`: mode, what becomes of NaN, a coefficient.
    pub set_activation: unsafe extern "C" fn(Handle, c_int, c_int, f64) -> Code,
    pub workspace_size: WorkspaceSize,
    pub forward: Forward,
    pub forward_activated: ForwardActivated,
}

impl Cudnn {
    pub fn load() -> Result<Cudnn, LoadError> {
        let library = Library::load(NAMES)?;
        let pair = |create, destroy| -> Result<(Create, Destroy), LoadError> {
            Ok((library.function(create)?, library.function(destroy)?))
        };
        Ok(Cudnn {
            create: library.function("cudnnCreate")?,
            destroy: library.function("cudnnDestroy")?,
            set_stream: library.function("cudnnSetStream")?,
            tensor: pair("cudnnCreateTensorDescriptor", "cudnnDestroyTensorDescriptor")?,
            set_tensor: library.function("cudnnSetTensor4dDescriptorEx")?,
            filter: pair("cudnnCreateFilterDescriptor", "cudnnDestroyFilterDescriptor")?,
            set_filter: library.function("cudnnSetFilter4dDescriptor")?,
            convolution: pair("cudnnCreateConvolutionDescriptor", "cudnnDestroyConvolutionDescriptor")?,
            set_convolution: library.function("cudnnSetConvolution2dDescriptor")?,
            set_groups: library.function("cudnnSetConvolutionGroupCount")?,
            set_math: library.function("cudnnSetConvolutionMathType")?,
            activation: pair("cudnnCreateActivationDescriptor", "cudnnDestroyActivationDescriptor")?,
            set_activation: library.function("cudnnSetActivationDescriptor")?,
            workspace_size: library.function("cudnnGetConvolutionForwardWorkspaceSize")?,
            forward: library.function("cudnnConvolutionForward")?,
            forward_activated: library.function("cudnnConvolutionBiasActivationForward")?,
        })
    }

    /// `cudnnDataType_t`; -1 where there is none.
    pub fn dtype(dtype: DType) -> c_int {
        match dtype {
            DType::F16 => 2,
            DType::F32 => 0,
            DType::BF16 => 9,
            _ => -1,
        }
    }
}
