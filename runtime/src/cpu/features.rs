//! Features of this CPU, by the names of the Rust standard library.

#[cfg(target_arch = "aarch64")]
use std::arch::is_aarch64_feature_detected as detected;
#[cfg(target_arch = "x86_64")]
use std::arch::is_x86_feature_detected as detected;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! detect {
    ($name:expr, $($feature:tt)*) => {
        match $name {
            $($feature => detected!($feature),)*
            _ => false,
        }
    };
}

/// Whether this CPU has a feature; it has none of an unknown name.
#[cfg(target_arch = "x86_64")]
pub(crate) fn has_feature(name: &str) -> bool {
    detect!(name, "sse" "sse2" "sse3" "ssse3" "sse4.1" "sse4.2" "sse4a"
        "popcnt" "avx" "avx2" "fma" "f16c" "bmi1" "bmi2" "lzcnt" "movbe" "adx" "aes" "pclmulqdq" "sha" "fxsr"
        "xsave" "rdrand" "rdseed" "gfni" "vaes" "vpclmulqdq" "avx512f" "avx512cd" "avx512bw" "avx512dq"
        "avx512vl" "avx512vnni" "avx512bf16" "avx512fp16" "avx512vbmi" "avx512vbmi2" "avx512bitalg"
        "avx512vpopcntdq" "avx512ifma" "avx512vp2intersect" "avxvnni" "avxifma" "avxneconvert" "avxvnniint8"
        "avxvnniint16")
}

/// Whether this CPU has a feature; it has none of an unknown name.
#[cfg(target_arch = "aarch64")]
pub(crate) fn has_feature(name: &str) -> bool {
    detect!(name, "neon" "fp16" "dotprod" "bf16" "i8mm" "sve" "sve2")
}

/// Whether this CPU has a feature: none is known for this architecture.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) fn has_feature(_name: &str) -> bool {
    false
}
