//! The driver of a platform: its errors, and what HIP and CUDA do differently.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fmt;
use std::sync::OnceLock;

use crate::device::Platform;
use crate::error::{Error, Result};
use crate::sys::{self, Code, Cuda, Functions, Handle, Hip, LoadError};

/// A driver's library, initialized.
pub(crate) struct Driver {
    pub functions: Functions,
    pub platform: Platform,
    library: Library,
}

enum Library {
    Hip(Hip),
    Cuda(Cuda),
}

/// A call that a driver refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub code: Code,
    text: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Failure {
    /// The error of a device that cannot do something.
    pub fn error(&self, device: &str, what: &str) -> Error {
        Error::Device { device: device.into(), what: what.into(), reason: self.text.clone() }
    }
}

impl Driver {
    /// The driver, loaded once; what is wrong with it, in words, where it cannot be used.
    pub fn get(platform: Platform) -> std::result::Result<&'static Driver, String> {
        static HIP: OnceLock<std::result::Result<Driver, String>> = OnceLock::new();
        static CUDA: OnceLock<std::result::Result<Driver, String>> = OnceLock::new();
        let cell = match platform {
            Platform::Hip => &HIP,
            Platform::Cuda => &CUDA,
        };
        cell.get_or_init(|| Driver::load(platform)).as_ref().map_err(String::clone)
    }

    fn load(platform: Platform) -> std::result::Result<Driver, String> {
        let loaded = match platform {
            Platform::Hip => Hip::load().map(|hip| (hip.functions, Library::Hip(hip))),
            Platform::Cuda => Cuda::load().map(|cuda| (cuda.functions, Library::Cuda(cuda))),
        };
        let vendor = platform.vendor();
        let (functions, library) = loaded.map_err(|error| match error {
            LoadError::Missing { names, reason } => {
                format!("{vendor}'s driver library is not here (tried {names}; {reason})")
            }
            LoadError::Old { name, function } => {
                format!("{vendor}'s driver library {name} is too old: it has no function `{function}`")
            }
        })?;
        let driver = Driver { functions, platform, library };
        // SAFETY: the function takes flags, which have to be 0.
        let initialized = driver.check(unsafe { (driver.functions.init)(0) });
        match initialized {
            Err(failure) if failure.code != sys::NO_DEVICE => {
                Err(format!("{vendor}'s driver library does not start: {failure}"))
            }
            _ => Ok(driver),
        }
    }

    /// The file that the driver was loaded from.
    pub fn library(&self) -> &'static str {
        match &self.library {
            Library::Hip(hip) => hip.name,
            Library::Cuda(cuda) => cuda.library.name(),
        }
    }

    /// What a call returned.
    pub fn check(&self, code: Code) -> std::result::Result<(), Failure> {
        if code == 0 {
            return Ok(());
        }
        let text = |text: *const c_char| match text.is_null() {
            true => "unknown error".to_string(),
            // SAFETY: drivers return texts that end in a zero byte and stay.
            false => unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned(),
        };
        let (name, about) = match &self.library {
            // SAFETY: the functions take any number.
            Library::Hip(hip) => unsafe { (text((hip.error_name)(code)), text((hip.error_text)(code))) },
            Library::Cuda(cuda) => {
                let (mut name, mut about) = (std::ptr::null(), std::ptr::null());
                // SAFETY: the functions take any number, and leave the text null where there is none.
                unsafe {
                    (cuda.error_name)(code, &raw mut name);
                    (cuda.error_text)(code, &raw mut about);
                }
                (text(name), text(about))
            }
        };
        Err(Failure { code, text: format!("{about} ({name}, {code})") })
    }

    /// How many devices there are.
    pub fn device_count(&self) -> std::result::Result<u32, Failure> {
        let mut count = 0;
        // SAFETY: the function writes a number.
        self.check(unsafe { (self.functions.device_count)(&raw mut count) })?;
        Ok(u32::try_from(count).unwrap_or(0))
    }

    /// The version of the driver, in its makers' form.
    pub fn version(&self) -> String {
        let mut version = 0;
        // SAFETY: the function writes a number.
        if self.check(unsafe { (self.functions.driver_version)(&raw mut version) }).is_err() {
            return "of unknown version".into();
        }
        match self.platform {
            Platform::Hip => {
                format!("HIP {}.{}.{}", version / 10_000_000, version / 100_000 % 100, version % 100_000)
            }
            Platform::Cuda => format!("CUDA {}.{}", version / 1000, version % 1000 / 10),
        }
    }

    /// The name of a device's instruction set, such as `gfx942` or `sm_90`.
    pub fn arch(&self, number: c_int) -> std::result::Result<String, Failure> {
        match &self.library {
            Library::Hip(hip) => {
                let mut properties = vec![0u8; sys::HIP_PROPERTIES];
                // SAFETY: the memory is larger than the properties of any version.
                self.check(unsafe { (hip.properties)(properties.as_mut_ptr().cast(), number) })?;
                let name = &properties[hip.arch_offset..hip.arch_offset + 256];
                let end = name.iter().position(|&byte| byte == 0 || byte == b':').unwrap_or(0);
                Ok(String::from_utf8_lossy(&name[..end]).into_owned())
            }
            Library::Cuda(cuda) => {
                let (mut major, mut minor) = (0, 0);
                // SAFETY: the function writes a number.
                self.check(unsafe { (cuda.attribute)(&raw mut major, sys::COMPUTE_MAJOR, number) })?;
                // SAFETY: as above.
                self.check(unsafe { (cuda.attribute)(&raw mut minor, sys::COMPUTE_MINOR, number) })?;
                Ok(format!("sm_{major}{minor}"))
            }
        }
    }

    /// The context that a CUDA device shares with the rest of the process; null in HIP.
    pub fn retain_context(&self, number: c_int) -> std::result::Result<Handle, Failure> {
        let mut context = std::ptr::null_mut();
        if let Library::Cuda(cuda) = &self.library {
            // SAFETY: the function writes a handle.
            self.check(unsafe { (cuda.retain_context)(&raw mut context, number) })?;
        }
        Ok(context)
    }

    /// Makes the calls of this thread go to a device.
    ///
    /// # Safety
    /// The context must be that of the device.
    pub unsafe fn enter(&self, number: c_int, context: Handle) -> std::result::Result<(), Failure> {
        self.check(match &self.library {
            // SAFETY: the function takes any number.
            Library::Hip(hip) => unsafe { (hip.set_device)(number) },
            // SAFETY: the caller's promise.
            Library::Cuda(cuda) => unsafe { (cuda.set_context)(context) },
        })
    }

    /// Lets the launches of a function ask for this much shared memory.
    ///
    /// # Safety
    /// The function must be one of a loaded module.
    pub unsafe fn allow_shared(&self, function: Handle, bytes: u32) -> std::result::Result<(), Failure> {
        match &self.library {
            // HIP allows what the device has.
            Library::Hip(_) => Ok(()),
            Library::Cuda(cuda) => {
                let bytes = c_int::try_from(bytes).unwrap_or(c_int::MAX);
                // SAFETY: the caller's promise.
                self.check(unsafe { (cuda.set_attribute)(function, sys::DYNAMIC_SHARED, bytes) })
            }
        }
    }

    /// What ends the extra parameters of a launch: `HIP_LAUNCH_PARAM_END`, `CU_LAUNCH_PARAM_END`.
    pub fn arguments_end(&self) -> *mut c_void {
        match self.platform {
            Platform::Hip => std::ptr::without_provenance_mut(3),
            Platform::Cuda => std::ptr::null_mut(),
        }
    }
}

/// The error of a device that is not there.
pub(crate) fn no_device<T>(name: &str, reason: String) -> Result<T> {
    Err(Error::NoDevice { name: name.into(), reason })
}
