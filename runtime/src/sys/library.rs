//! Loading a library by the first of its names that is there.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::mem::ManuallyDrop;

/// Why a library cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LoadError {
    /// No library of these names is there, or none can be loaded: what the system says of the last.
    Missing { names: String, reason: String },
    /// The library has not a function that is needed.
    Old { name: String, function: String },
}

/// A library, loaded until the process ends.
pub(crate) struct Library {
    /// Never closed: its functions are kept without it.
    library: ManuallyDrop<libloading::Library>,
    name: &'static str,
}

impl Library {
    /// Loads the first of the names that is there.
    pub fn load(names: &[&'static str]) -> Result<Library, LoadError> {
        let mut reason = String::new();
        for &name in names {
            // SAFETY: the libraries are drivers, whose initializers make no demands.
            match unsafe { libloading::Library::new(name) } {
                Ok(library) => return Ok(Library { library: ManuallyDrop::new(library), name }),
                Err(error) => reason = chain(&error),
            }
        }
        Err(LoadError::Missing { names: names.join(", "), reason })
    }

    /// The name that was found.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// A function, or a pointer of the same size.
    pub fn function<F: Copy>(&self, name: &str) -> Result<F, LoadError> {
        self.find(name)
            .ok_or_else(|| LoadError::Old { name: self.name.to_string(), function: name.to_string() })
    }

    /// A function that older versions have not.
    pub fn find<F: Copy>(&self, name: &str) -> Option<F> {
        let symbol = CString::new(name).ok()?;
        // SAFETY: the caller's type is that of the library's header; the library stays loaded until the process ends.
        unsafe { self.library.get::<F>(symbol.as_bytes_with_nul()) }.ok().map(|function| *function)
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => chain(source),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let missing = Library::load(&["libsardonyx-none.so.1", "libsardonyx-none.so"]).err();
        let Some(LoadError::Missing { names, reason }) = missing else { panic!("{missing:?}") };
        assert_eq!(names, "libsardonyx-none.so.1, libsardonyx-none.so");
        assert!(reason.contains("libsardonyx-none.so"), "{reason}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_function_that_is_missing_is_named() {
        let library = Library::load(&["libc.so.6"]).expect("a Linux system should have a C library");
        assert!(library.find::<unsafe extern "C" fn()>("getpid").is_some());
        let error = library.function::<unsafe extern "C" fn()>("hipMalloc").err();
        let old = LoadError::Old { name: "libc.so.6".into(), function: "hipMalloc".into() };
        assert_eq!(error, Some(old));
    }
}
