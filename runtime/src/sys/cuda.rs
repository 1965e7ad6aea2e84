//! NVIDIA's driver library, `libcuda`.

use std::ffi::{c_char, c_int};

use super::{Code, Functions, Handle, Library, LoadError};

const NAMES: &[&str] = &["libcuda.so.1", "libcuda.so"];

/// `CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR`; the minor one comes next.
pub(crate) const COMPUTE_MAJOR: c_int = 75;
/// `CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR`.
pub(crate) const COMPUTE_MINOR: c_int = 76;
/// `CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES`.
pub(crate) const DYNAMIC_SHARED: c_int = 8;

/// CUDA, with what only it has.
pub(crate) struct Cuda {
    pub functions: Functions,
    pub error_name: unsafe extern "C" fn(Code, *mut *const c_char) -> Code,
    pub error_text: unsafe extern "C" fn(Code, *mut *const c_char) -> Code,
    pub attribute: unsafe extern "C" fn(*mut c_int, c_int, c_int) -> Code,
    pub retain_context: unsafe extern "C" fn(*mut Handle, c_int) -> Code,
    pub set_context: unsafe extern "C" fn(Handle) -> Code,
    pub set_attribute: unsafe extern "C" fn(Handle, c_int, c_int) -> Code,
    pub library: Library,
}

impl Cuda {
    pub fn load() -> Result<Cuda, LoadError> {
        let library = Library::load(NAMES)?;
        Ok(Cuda {
            functions: Functions::load_cuda(&library)?,
            error_name: library.function("cuGetErrorName")?,
            error_text: library.function("cuGetErrorString")?,
            attribute: library.function("cuDeviceGetAttribute")?,
            retain_context: library.function("cuDevicePrimaryCtxRetain")?,
            set_context: library.function("cuCtxSetCurrent")?,
            set_attribute: library.function("cuFuncSetAttribute")?,
            library,
        })
    }
}
