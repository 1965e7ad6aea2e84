//! AMD's driver library, `libamdhip64`.

use std::ffi::{c_char, c_int, c_void};

use super::{Code, Functions, Library, LoadError};

/// The names of the library, the newest first: ROCm 7, 6 and 5, and what development packages install.
const NAMES: &[&str] = &["libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so.5", "libamdhip64.so"];

/// Bytes that are enough for `hipDeviceProp_t` of any version.
pub(crate) const PROPERTIES: usize = 4096;

/// HIP, with what only it has.
pub(crate) struct Hip {
    pub functions: Functions,
    pub error_name: unsafe extern "C" fn(Code) -> *const c_char,
    pub error_text: unsafe extern "C" fn(Code) -> *const c_char,
    pub set_device: unsafe extern "C" fn(c_int) -> Code,
    pub properties: unsafe extern "C" fn(*mut c_void, c_int) -> Code,
    /// Where the name of the architecture is in the properties.
    pub arch_offset: usize,
    pub library: Library,
}

impl Hip {
    pub fn load() -> Result<Hip, LoadError> {
        let library = Library::load(NAMES)?;
        // The offsets of `gcnArchName` in `hipDeviceProp_t`: since ROCm 6, and before it.
        let (properties, arch_offset) = match library.find("hipGetDevicePropertiesR0600") {
            Some(function) => (function, 1160),
            None => (library.function("hipGetDeviceProperties")?, 396),
        };
        Ok(Hip {
            functions: Functions::load_hip(&library)?,
            error_name: library.function("hipGetErrorName")?,
            error_text: library.function("hipGetErrorString")?,
            set_device: library.function("hipSetDevice")?,
            properties,
            arch_offset,
            library,
        })
    }
}
