//! Targets as data: what code generation needs to know of a processor, one table row each.
mod gpu;

pub use gpu::{GPUS, GpuSpec, Matrix, Platform};

/// What code is generated for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// A processor: kernels are nests over work items that threads share, compiled by LLVM.
    Cpu(TargetSpec),
    /// A GPU: kernels are blocks of threads, HIP text compiled by its platform's toolchain.
    Gpu(GpuSpec),
}

impl Target {
    /// The full name, such as `cpu:znver5` or `hip:gfx942`.
    pub fn name(&self) -> String {
        match self {
            Target::Cpu(spec) => format!("cpu:{}", spec.cpu),
            Target::Gpu(spec) => format!("{}:{}", spec.platform.name(), spec.arch),
        }
    }
    /// The processor, if it is one.
    pub fn cpu(&self) -> Option<&TargetSpec> {
        match self {
            Target::Cpu(spec) => Some(spec),
            Target::Gpu(_) => None,
        }
    }
    /// The GPU, if it is one.
    pub fn gpu(&self) -> Option<&GpuSpec> {
        match self {
            Target::Cpu(_) => None,
            Target::Gpu(spec) => Some(spec),
        }
    }
}

/// A processor that code is generated for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TargetSpec {
    /// The name that LLVM knows it by, such as `x86-64-v3` or `znver5`.
    pub cpu: String,
    /// LLVM features on top of those the name implies (`+avx512f,-sse4a,…`), empty for named processors.
    pub features: String,
    /// Bytes of a vector register.
    pub vector_bytes: u32,
    /// The number of vector registers.
    pub vector_registers: u32,
    /// Whether a fused multiply-add is one instruction.
    pub fma: bool,
    /// Whether conversions between `f16` and `f32` are instructions.
    pub f16c: bool,
    /// Whether dot products of four `u8` and `i8` added to an `i32` are instructions.
    pub vnni: bool,
    /// Bytes of the first-level data cache of a core.
    pub l1_bytes: u32,
    /// Bytes of the second-level cache of a core.
    pub l2_bytes: u32,
}

/// A row of the table of processors.
pub struct Cpu {
    /// LLVM's name.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    isa: Isa,
    l1_kib: u32,
    l2_kib: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Isa {
    Sse42,
    Avx2,
    Avx2Vnni,
    Avx512,
    Avx512Vnni,
}

macro_rules! cpus { ($($name:literal $isa:ident $l1:literal $l2:literal $about:literal;)*) => {
    /// The processors known by name, generic ones first.
    pub const CPUS: &[Cpu] = &[$(Cpu { name: $name, about: $about, isa: Isa::$isa, l1_kib: $l1, l2_kib: $l2 }),*];
} }

// The columns: name, instruction set, first- and second-level data cache of a core in KiB.
cpus! {
    "x86-64-v2"      Sse42      32  256  "any x86-64 processor since 2009: SSE4.2";
    "x86-64-v3"      Avx2       32  256  "any x86-64 processor since 2015: AVX2, FMA, F16C";
    "x86-64-v4"      Avx512     32 1024  "AVX-512 F, BW, CD, DQ and VL";
    "haswell"        Avx2       32  256  "Intel Core of the 4th generation, 2013";
    "skylake"        Avx2       32  256  "Intel Core of the 6th generation, 2015";
    "skylake-avx512" Avx512     32 1024  "Intel Xeon Scalable, 2017";
    "cascadelake"    Avx512Vnni 32 1024  "Intel Xeon Scalable of the 2nd generation, 2019";
    "icelake-server" Avx512Vnni 48 1280  "Intel Xeon Scalable of the 3rd generation, 2021";
    "alderlake"      Avx2Vnni   48 1280  "Intel Core of the 12th generation, 2021";
    "sapphirerapids" Avx512Vnni 48 2048  "Intel Xeon Scalable of the 4th generation, 2023";
    "znver1"         Avx2       32  512  "AMD Zen, 2017";
    "znver2"         Avx2       32  512  "AMD Zen 2, 2019";
    "znver3"         Avx2       32  512  "AMD Zen 3, 2020";
    "znver4"         Avx512Vnni 32 1024  "AMD Zen 4, 2022";
    "znver5"         Avx512Vnni 48 1024  "AMD Zen 5, 2024";
}

impl Cpu {
    fn spec(&self, features: &str) -> TargetSpec {
        let wide = self.isa >= Isa::Avx512;
        TargetSpec {
            cpu: self.name.to_string(),
            features: features.to_string(),
            vector_bytes: if wide {
                64
            } else if self.isa >= Isa::Avx2 {
                32
            } else {
                16
            },
            vector_registers: if wide { 32 } else { 16 },
            fma: self.isa >= Isa::Avx2,
            f16c: self.isa >= Isa::Avx2,
            vnni: matches!(self.isa, Isa::Avx2Vnni | Isa::Avx512Vnni),
            l1_bytes: self.l1_kib << 10,
            l2_bytes: self.l2_kib << 10,
        }
    }
}

impl TargetSpec {
    /// The processor of this name; `None` if the table has no such row.
    pub fn named(cpu: &str) -> Option<TargetSpec> {
        CPUS.iter().find(|c| c.name == cpu).map(|c| c.spec(""))
    }

    /// The processor that LLVM describes by a name and a feature string (`+avx2,-avx512f,…`): the row of
    /// that name as far as the features are there, else the greatest generic row that they cover.
    pub fn described(cpu: &str, features: &str) -> TargetSpec {
        let has = |f: &str| features.split(',').any(|g| g.strip_prefix('+') == Some(f));
        let isa = match () {
            _ if has("avx512f") && has("avx512vl") && has("avx512bw") && has("avx512dq") => {
                if has("avx512vnni") { Isa::Avx512Vnni } else { Isa::Avx512 }
            }
            _ if has("avx2") && has("fma") && has("f16c") => {
                if has("avxvnni") {
                    Isa::Avx2Vnni
                } else {
                    Isa::Avx2
                }
            }
            _ => Isa::Sse42,
        };
        let known = CPUS.iter().find(|c| c.name == cpu);
        let generic = CPUS.iter().take(3).rfind(|c| c.isa <= isa).unwrap_or(&CPUS[0]);
        let caches = known.unwrap_or(generic);
        Cpu { name: "", about: "", isa, ..*caches }.spec(features).with_cpu(cpu)
    }

    fn with_cpu(self, cpu: &str) -> TargetSpec {
        TargetSpec { cpu: cpu.to_string(), ..self }
    }

    /// The number of `f32` lanes of a vector register.
    pub fn f32_lanes(&self) -> u32 {
        self.vector_bytes / 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_descriptions_agree() {
        let zen5 = TargetSpec::named("znver5").unwrap();
        assert_eq!((zen5.vector_bytes, zen5.vector_registers, zen5.f32_lanes()), (64, 32, 16));
        assert!(TargetSpec::named("i386").is_none());
        let masked = TargetSpec::described("znver5", "+avx2,+fma,+f16c,-avx512f");
        assert_eq!((masked.vector_bytes, masked.l2_bytes, masked.vnni), (32, 1 << 20, false));
        assert_eq!(TargetSpec::described("mystery", "+sse4.2").vector_bytes, 16);
    }
}
