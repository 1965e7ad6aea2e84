//! AMD's library of networks, MIOpen.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};

use sardonyx_tensor::DType;

use super::{Address, Code, Create, Destroy, Handle, Library, LoadError};

const NAMES: &[&str] = &["libMIOpen.so.1", "libMIOpen.so"];

/// `miopenConvolution`: taps are not turned around, as ONNX has it.
pub(crate) const CORRELATION: c_int = 0;
/// `miopenActivationRELU`.
pub(crate) const RELU: c_int = 3;
/// `miopenTensorOpAdd`.
pub(crate) const ADD: c_int = 0;
/// `miopenConvolutionFwdAlgoFFT`.
pub(crate) const FOURIER: c_int = 2;
/// `miopenConvolutionFwdAlgoWinograd`.
pub(crate) const WINOGRAD: c_int = 3;

/// `miopenSet4dTensorDescriptorEx`: type, sizes of image, channel, row and column, then their strides.
type SetTensor =
    unsafe extern "C" fn(Handle, c_int, c_int, c_int, c_int, c_int, c_int, c_int, c_int, c_int) -> Code;
/// `miopenInitConvolutionDescriptor`: mode, padding, strides, dilations.
type SetConvolution = unsafe extern "C" fn(Handle, c_int, c_int, c_int, c_int, c_int, c_int, c_int) -> Code;
/// `miopenConvolutionForwardGetWorkSpaceSize`: weights, input, convolution, output.
type WorkspaceSize = unsafe extern "C" fn(Handle, Handle, Handle, Handle, Handle, *mut usize) -> Code;
/// `miopenFindConvolutionForwardAlgorithm`: input, weights, convolution, output, how many to give, how many are
/// given, where; workspace; whether to search for long.
type Find = unsafe extern "C" fn(
    Handle,
    Handle,
    Address,
    Handle,
    Address,
    Handle,
    Handle,
    Address,
    c_int,
    *mut c_int,
    *mut Found,
    Address,
    usize,
    bool,
) -> Code;
/// `miopenConvolutionForward`: factor, input, weights, convolution, algorithm, factor, output, workspace.
type Forward = unsafe extern "C" fn(
    Handle,
    *const c_void,
    Handle,
    Address,
    Handle,
    Address,
    Handle,
    c_int,
    *const c_void,
    Handle,
    Address,
    Address,
    usize,
) -> Code;
/// `miopenOpTensor`: operation, then a factor and a tensor three times, of which the last is the result.
type Combine = unsafe extern "C" fn(
    Handle,
    c_int,
    *const c_void,
    Handle,
    Address,
    *const c_void,
    Handle,
    Address,
    *const c_void,
    Handle,
    Address,
) -> Code;
/// `miopenActivationForward`: activation, factor, input, factor, output.
type Activate = unsafe extern "C" fn(
    Handle,
    Handle,
    *const c_void,
    Handle,
    Address,
    *const c_void,
    Handle,
    Address,
) -> Code;

/// `miopenConvAlgoPerf_t`: an algorithm that was found, its milliseconds and bytes of workspace.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Found {
    pub algorithm: c_int,
    pub time: f32,
    pub workspace: usize,
}

/// The functions of MIOpen.
pub(crate) struct Miopen {
    /// `miopenCreateWithStream`.
    pub create: unsafe extern "C" fn(*mut Handle, Handle) -> Code,
    pub destroy: Destroy,
    pub tensor: (Create, Destroy),
    pub set_tensor: SetTensor,
    pub convolution: (Create, Destroy),
    pub set_convolution: SetConvolution,
    pub set_groups: unsafe extern "C" fn(Handle, c_int) -> Code,
    pub activation: (Create, Destroy),
    /// `miopenSetActivationDescriptor`: mode and three coefficients.
    pub set_activation: unsafe extern "C" fn(Handle, c_int, f64, f64, f64) -> Code,
    pub workspace_size: WorkspaceSize,
    pub find: Find,
    pub forward: Forward,
    pub combine: Combine,
    pub activate: Activate,
}

impl Miopen {
    pub fn load() -> Result<Miopen, LoadError> {
        let library = Library::load(NAMES)?;
        let pair = |create, destroy| -> Result<(Create, Destroy), LoadError> {
            Ok((library.function(create)?, library.function(destroy)?))
        };
        Ok(Miopen {
            create: library.function("miopenCreateWithStream")?,
            destroy: library.function("miopenDestroy")?,
            tensor: pair("miopenCreateTensorDescriptor", "miopenDestroyTensorDescriptor")?,
            set_tensor: library.function("miopenSet4dTensorDescriptorEx")?,
            convolution: pair("miopenCreateConvolutionDescriptor", "miopenDestroyConvolutionDescriptor")?,
            set_convolution: library.function("miopenInitConvolutionDescriptor")?,
            set_groups: library.function("miopenSetConvolutionGroupCount")?,
            activation: pair("miopenCreateActivationDescriptor", "miopenDestroyActivationDescriptor")?,
            set_activation: library.function("miopenSetActivationDescriptor")?,
            workspace_size: library.function("miopenConvolutionForwardGetWorkSpaceSize")?,
            find: library.function("miopenFindConvolutionForwardAlgorithm")?,
            forward: library.function("miopenConvolutionForward")?,
            combine: library.function("miopenOpTensor")?,
            activate: library.function("miopenActivationForward")?,
        })
    }

    /// `miopenDataType_t`; -1 where there is none.
    pub fn dtype(dtype: DType) -> c_int {
        match dtype {
            DType::F16 => 0,
            DType::F32 => 1,
            DType::BF16 => 5,
            _ => -1,
        }
    }
}
