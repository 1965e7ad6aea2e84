//! AMD's driver library, `libamdhip64`: loaded at run time, or linked by the crate rocm-rs where that feature is on.
#![cfg_attr(feature = "rocm-rs", allow(unsafe_code))]

use std::ffi::{c_char, c_int, c_void};

use super::{Code, Functions, Library, LoadError};

/// The names of the library, the newest first: ROCm 7, 6 and 5, and what development packages install.
#[cfg(not(feature = "rocm-rs"))]
const NAMES: &[&str] = &["libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so.5", "libamdhip64.so"];

/// The offset of `gcnArchName` in `hipDeviceProp_t` since ROCm 6.
const ARCH_SINCE_6: usize = 1160;
/// That before it.
#[cfg(not(feature = "rocm-rs"))]
const ARCH_BEFORE_6: usize = 396;

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
    /// The file that was loaded, or how the library came here.
    pub name: &'static str,
    /// Keeps the functions.
    _library: Option<Library>,
}

impl Hip {
    #[cfg(feature = "rocm-rs")]
    pub fn load() -> Result<Hip, LoadError> {
        use rocm_rs::hip::bindings;
        // SAFETY: as for the table of functions; the properties are written to memory that is large enough.
        Ok(unsafe {
            Hip {
                functions: Functions::linked_hip(),
                error_name: std::mem::transmute::<*const (), unsafe extern "C" fn(Code) -> *const c_char>(
                    bindings::hipGetErrorName as *const (),
                ),
                error_text: std::mem::transmute::<*const (), unsafe extern "C" fn(Code) -> *const c_char>(
                    bindings::hipGetErrorString as *const (),
                ),
                set_device: std::mem::transmute::<*const (), unsafe extern "C" fn(c_int) -> Code>(
                    bindings::hipSetDevice as *const (),
                ),
                properties: std::mem::transmute::<*const (), unsafe extern "C" fn(*mut c_void, c_int) -> Code>(
                    bindings::hipGetDevicePropertiesR0600 as *const (),
                ),
                arch_offset: ARCH_SINCE_6,
                name: "libamdhip64, linked",
                _library: None,
            }
        })
    }

    #[cfg(not(feature = "rocm-rs"))]
    pub fn load() -> Result<Hip, LoadError> {
        let library = Library::load(NAMES)?;
        let (properties, arch_offset) = match library.find("hipGetDevicePropertiesR0600") {
            Some(function) => (function, ARCH_SINCE_6),
            None => (library.function("hipGetDeviceProperties")?, ARCH_BEFORE_6),
        };
        Ok(Hip {
            functions: Functions::load_hip(&library)?,
            error_name: library.function("hipGetErrorName")?,
            error_text: library.function("hipGetErrorString")?,
            set_device: library.function("hipSetDevice")?,
            properties,
            arch_offset,
            name: library.name(),
            _library: Some(library),
        })
    }
}
