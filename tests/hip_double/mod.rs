//! Tests on the HIP test double: builds it, compiles kernels for it, and runs test functions over it, each in a
//! process of its own, so that it starts with a fresh library and may crash.
//!
//! Needs clang 19; without it tests say so and pass. With clang's sanitizer runtime (`libclang-rt-19-dev`),
//! library and kernels run under AddressSanitizer and UBSan, otherwise kernels trap on undefined behaviour.
// Each test binary uses some of it.
#![allow(dead_code, clippy::unwrap_used)]

use std::ffi::{CStr, CString, c_char};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

const COMPILER: &str = "clang++-19";
/// Says to a test binary that it runs over the double.
const INSIDE: &str = "SARDONYX_HIP_DOUBLE";

/// How code is compiled.
struct Tools {
    /// The double's sources.
    sources: PathBuf,
    /// AddressSanitizer's runtime; none where it is not installed.
    sanitizer: Option<PathBuf>,
}

/// `None` without clang.
fn tools() -> Option<&'static Tools> {
    static TOOLS: OnceLock<Option<Tools>> = OnceLock::new();
    let find = || {
        let library = "-print-file-name=libclang_rt.asan-x86_64.so";
        let print = Command::new(COMPILER).arg(library).output().ok()?;
        let path = PathBuf::from(String::from_utf8_lossy(&print.stdout).trim());
        let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
        let mut sources = folders.map(|folder| folder.join("tests/hip_double"));
        let sources = sources.find(|folder| folder.join("hip_double.cpp").is_file())?;
        Some(Tools { sources, sanitizer: path.is_absolute().then_some(path) })
    };
    TOOLS.get_or_init(find).as_ref()
}

/// Whether AddressSanitizer watches kernels.
pub fn is_sanitized() -> bool {
    tools().is_some_and(|tools| tools.sanitizer.is_some())
}

/// The shared library that C++ text compiles to, kept from one run of the tests to the next.
fn compile(text: &str, flags: &[&str], name: &str) -> PathBuf {
    let tools = tools().expect("clang should be there");
    let headers = ["host_object.hpp", "miopen.hpp"]
        .map(|name| std::fs::read_to_string(tools.sources.join(name)).unwrap());
    let mut hasher = DefaultHasher::new();
    (text, flags, headers, &tools.sanitizer).hash(&mut hasher);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hip_double-{:016x}", hasher.finish()));
    let library = folder.join(name);
    if library.is_file() {
        return library;
    }
    std::fs::create_dir_all(&folder).unwrap();
    // Others may compile the same at this moment; the last to finish puts it in place.
    let mine = folder.join(format!("{}-{:?}", std::process::id(), std::thread::current().id()));
    let source = mine.with_extension("cpp");
    std::fs::write(&source, text).unwrap();
    let sanitize: &[&str] = match tools.sanitizer {
        Some(_) => &["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-shared-libsan"],
        None => &["-fsanitize=undefined", "-fsanitize-trap=all"],
    };
    let mut command = Command::new(COMPILER);
    command.args(["-std=c++17", "-shared", "-fPIC", "-O1", "-gline-tables-only"]).args(sanitize).args(flags);
    let built = command.arg("-I").arg(&tools.sources).arg("-o").args([&mine, &source]).output().unwrap();
    let errors = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{}: {errors}", source.display());
    std::fs::rename(&mine, &library).unwrap();
    std::fs::remove_file(&source).unwrap();
    library
}

/// A code object for the target `hip:host`: text that defines kernels, and their names.
pub fn code_object(text: &str, kernels: &[&str]) -> Vec<u8> {
    let mut whole = format!("{text}\n#include \"host_object.hpp\"\n");
    for kernel in kernels {
        whole += &format!("HOST_KERNEL({kernel})\n");
    }
    // Attributes of devices mean nothing here.
    std::fs::read(compile(&whole, &["-DSARDONYX_HOST", "-Wno-unknown-attributes"], "code.so")).unwrap()
}

/// The double, as tests of a child process see it.
pub struct Double(libloading::Library);

#[allow(unsafe_code)]
impl Double {
    fn open() -> Double {
        // SAFETY: the double's initializers make no demands.
        Double(unsafe { libloading::Library::new("libamdhip64.so.7") }.unwrap())
    }

    /// How often a function of HIP was called.
    pub fn calls(&self, function: &str) -> u64 {
        let function = CString::new(function).unwrap();
        // SAFETY: the type is that of hip_double.cpp.
        unsafe {
            let calls = self.0.get::<unsafe extern "C" fn(*const c_char) -> u64>(b"hip_double_calls\0");
            calls.unwrap()(function.as_ptr())
        }
    }

    /// Bytes that are allocated on all devices.
    pub fn memory(&self) -> u64 {
        // SAFETY: the type is that of hip_double.cpp.
        unsafe { self.0.get::<unsafe extern "C" fn() -> u64>(b"hip_double_memory\0").unwrap()() }
    }

    fn text(&self, function: &[u8]) -> String {
        // SAFETY: the type is that of hip_double.cpp; the text stays until the next call.
        unsafe {
            let text = self.0.get::<unsafe extern "C" fn() -> *const c_char>(function).unwrap()();
            CStr::from_ptr(text).to_string_lossy().into_owned()
        }
    }

    /// What callers did wrong since the last call, a line each.
    pub fn problems(&self) -> String {
        self.text(b"hip_double_problems\0")
    }

    /// What was not given back, a line each.
    pub fn leaks(&self) -> String {
        self.text(b"hip_double_leaks\0")
    }
}

/// Runs the test of this name over the double with these settings (see hip_double.cpp): the body in a child
/// process, where nothing may be done wrong or leak. What `prepare` compiles is there when the child begins.
pub fn over_double<T>(test: &str, settings: &str, prepare: fn() -> T, body: impl FnOnce(&T, &Double)) {
    if std::env::var_os(INSIDE).is_some() {
        let double = Double::open();
        body(&prepare(), &double);
        assert_eq!(double.problems(), "", "the double was used wrongly");
        assert_eq!(double.leaks(), "", "not all was given back");
        return;
    }
    let Some(output) = child(test, settings, &[], prepare) else { return };
    let text = text(&output);
    assert!(output.status.success() && text.contains("1 passed"), "{test} over the double:\n{text}");
}

/// As [`over_double`], where the body has to crash; gives what the child printed.
pub fn crash_over_double<T>(test: &str, prepare: fn() -> T, body: impl FnOnce(&T)) -> Option<String> {
    if std::env::var_os(INSIDE).is_some() {
        body(&prepare());
        return None;
    }
    let output = child(test, "", &[], prepare)?;
    let text = text(&output);
    assert!(!output.status.success(), "{test} should have crashed over the double:\n{text}");
    Some(text)
}

/// As [`over_double`], over libraries of which one, `HIP` or `MIOPEN`, lacks a function.
pub fn over_old_double<T>(test: &str, old: &str, prepare: fn() -> T, body: impl FnOnce(&T)) {
    if std::env::var_os(INSIDE).is_some() {
        return body(&prepare());
    }
    let Some(output) = child(test, "", &[&format!("-D{old}_DOUBLE_OLD")], prepare) else { return };
    assert!(output.status.success(), "{test}:\n{}", text(&output));
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

/// Whether there is what the double is made with; a note if not.
pub fn available(test: &str) -> bool {
    if tools().is_none() {
        eprintln!("{test}: {COMPILER} is not installed, so nothing was tested");
    }
    tools().is_some()
}

/// This test binary, running one test over the double; `None`, and a note, without clang.
fn child<T>(test: &str, settings: &str, flags: &[&str], prepare: fn() -> T) -> Option<Output> {
    if !available(test) {
        return None;
    }
    // Compilers are not run under the sanitizer, so before the child.
    prepare();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(INSIDE, "1");
    run_over(&mut command, settings, flags);
    Some(command.output().unwrap())
}

/// Makes a command run over the double with these settings, compiled with these flags.
pub fn run_over(command: &mut Command, settings: &str, flags: &[&str]) {
    let tools = tools().expect("clang should be there");
    let text = std::fs::read_to_string(tools.sources.join("hip_double.cpp")).unwrap();
    // The first name that the runtime tries.
    let library = compile(&text, flags, "libamdhip64.so.7");
    // The same file under the names of libraries; another test may have made the links.
    for name in ["librocblas.so.5", "libMIOpen.so.1"] {
        let _ = std::os::unix::fs::symlink("libamdhip64.so.7", library.with_file_name(name));
    }
    command
        .env("HIP_DOUBLE", settings)
        .env("LD_LIBRARY_PATH", library.parent().unwrap())
        // The double finds leaks itself; those of the test harness are of no interest.
        .env("ASAN_OPTIONS", "detect_leaks=0");
    if let Some(sanitizer) = &tools.sanitizer {
        command.env("LD_PRELOAD", sanitizer);
    }
}
