//! Run-time compilers as libraries: hiprtc and NVRTC, which have the same interface under two prefixes, and
//! the part of AMD's code object manager that lists instruction sets.
//!
//! Names and signatures are those of "HIP Runtime API Reference: HIP RTC" and "NVRTC" (CUDA Toolkit
//! documentation).
#![allow(unsafe_code)]
use libloading::{Library, Symbol};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;

type Program = *mut c_void;
type Strings = *const *const c_char;

/// A run-time compiler.
pub struct Rtc {
    create:
        unsafe extern "C" fn(*mut Program, *const c_char, *const c_char, c_int, Strings, Strings) -> c_int,
    compile: unsafe extern "C" fn(Program, c_int, Strings) -> c_int,
    destroy: unsafe extern "C" fn(*mut Program) -> c_int,
    log_size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    log: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    code_size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    code: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    error_string: unsafe extern "C" fn(c_int) -> *const c_char,
    version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int,
    /// Keeps the functions loaded.
    _library: Library,
}

/// The function of this name, copied out of the library.
fn function<T: Copy>(library: &Library, name: &str) -> Result<T, String> {
    // SAFETY: the type is that of the function's documented signature; `Rtc` and `instruction_sets` use it
    // only while the library is loaded.
    let found: Result<Symbol<'_, T>, _> = unsafe { library.get(name.as_bytes()) };
    found.map(|symbol| *symbol).map_err(|_| format!("it has no function `{name}`: it is too old"))
}

fn open(name: &Path) -> Result<Library, String> {
    // SAFETY: the initializers of vendors' libraries have no conditions.
    unsafe { Library::new(name) }.map_err(|error| error.to_string())
}

impl Rtc {
    /// Loads a library whose functions start with `prefix`, and hand out code by `code` (`Code`, `CUBIN`).
    pub fn load(name: &Path, prefix: &str, code: &str) -> Result<Rtc, String> {
        let library = open(name)?;
        Ok(Rtc {
            create: function(&library, &format!("{prefix}CreateProgram"))?,
            compile: function(&library, &format!("{prefix}CompileProgram"))?,
            destroy: function(&library, &format!("{prefix}DestroyProgram"))?,
            log_size: function(&library, &format!("{prefix}GetProgramLogSize"))?,
            log: function(&library, &format!("{prefix}GetProgramLog"))?,
            code_size: function(&library, &format!("{prefix}Get{code}Size"))?,
            code: function(&library, &format!("{prefix}Get{code}"))?,
            error_string: function(&library, &format!("{prefix}GetErrorString"))?,
            version: function(&library, &format!("{prefix}Version"))?,
            _library: library,
        })
    }

    /// The version of the interface.
    pub fn version(&self) -> (i32, i32) {
        let (mut major, mut minor) = (0, 0);
        // SAFETY: both places are valid for a write.
        unsafe { (self.version)(&raw mut major, &raw mut minor) };
        (major, minor)
    }

    /// Compiles a text; the error holds the compiler's log.
    pub fn compile(&self, name: &str, text: &str, options: &[String]) -> Result<Vec<u8>, String> {
        let c_string = |s: &str| CString::new(s).map_err(|_| "a zero byte in the text".to_string());
        let (text, name) = (c_string(text)?, c_string(name)?);
        let options = options.iter().map(|o| c_string(o)).collect::<Result<Vec<_>, _>>()?;
        let options: Vec<*const c_char> = options.iter().map(|o| o.as_ptr()).collect();
        let none = std::ptr::null();
        let mut program: Program = std::ptr::null_mut();
        // SAFETY: the strings end with a zero byte and outlive the call; there are no headers.
        let made = unsafe { (self.create)(&raw mut program, text.as_ptr(), name.as_ptr(), 0, none, none) };
        self.check(made)?;
        // SAFETY: the program was made above; options outlive the call and are as many as is said.
        let compiled = unsafe { (self.compile)(program, options.len() as c_int, options.as_ptr()) };
        let code = match self.check(compiled) {
            Ok(()) => self.bytes(program, self.code_size, self.code),
            Err(error) => Err(match self.bytes(program, self.log_size, self.log) {
                Ok(log) => {
                    format!("{error}\n{}", String::from_utf8_lossy(&log).trim_end_matches('\0').trim_end())
                }
                Err(_) => error,
            }),
        };
        // SAFETY: the program was made above and is not used again.
        unsafe { (self.destroy)(&raw mut program) };
        code
    }

    fn check(&self, status: c_int) -> Result<(), String> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: the function takes any number and returns a constant text or null.
        let text = unsafe { (self.error_string)(status) };
        if text.is_null() {
            return Err(format!("error {status}"));
        }
        // SAFETY: it is not null, so it is a text that ends with a zero byte.
        Err(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
    }

    fn bytes(
        &self,
        program: Program,
        size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
        get: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    ) -> Result<Vec<u8>, String> {
        let mut length = 0;
        // SAFETY: the program was made and not destroyed; the place is valid for a write.
        self.check(unsafe { size(program, &raw mut length) })?;
        let mut bytes = vec![0u8; length];
        // SAFETY: as above; the buffer has the size that the library asked for.
        self.check(unsafe { get(program, bytes.as_mut_ptr().cast()) })?;
        Ok(bytes)
    }
}

/// The names of the instruction sets (`gfx90a`) that AMD's code object manager compiles for.
pub fn instruction_sets(name: &Path) -> Result<Vec<String>, String> {
    type Count = unsafe extern "C" fn(*mut usize) -> c_int;
    type Name = unsafe extern "C" fn(usize, *mut *const c_char) -> c_int;
    let library = open(name)?;
    let count: Count = function(&library, "amd_comgr_get_isa_count")?;
    let get: Name = function(&library, "amd_comgr_get_isa_name")?;
    let mut number = 0;
    // SAFETY: the place is valid for a write.
    if unsafe { count(&raw mut number) } != 0 {
        return Err("it does not list its instruction sets".into());
    }
    let mut names = Vec::new();
    for k in 0..number {
        let mut text: *const c_char = std::ptr::null();
        // SAFETY: the number is below the count, and the place is valid for a write.
        if unsafe { get(k, &raw mut text) } == 0 && !text.is_null() {
            // SAFETY: it is a constant text of the library, which is still loaded.
            let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
            names.extend(text.rsplit('-').next().map(String::from));
        }
    }
    // LLVM inside it ends the process when it is loaded a second time, as the compiler does later.
    std::mem::forget(library);
    Ok(names)
}
