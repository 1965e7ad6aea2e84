//! GPUs as data, one table row each.

pub use sardonyx_runtime::Platform;

/// The matrix unit of a GPU.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Matrix {
    /// None: products are sums of multiply-adds.
    None,
    /// CDNA's MFMA on 64 lanes; `f16`, and `bf16` with 8 elements a lane pair from gfx90a on.
    Mfma {
        /// Whether the `_1k` forms of bf16 are there (gfx90a on).
        bf16_1k: bool,
    },
    /// RDNA 3's WMMA on 32 lanes: every element of a row stands in two lanes.
    Wmma3,
    /// RDNA 4's WMMA on 32 lanes: every element stands in one lane.
    Wmma4,
    /// NVIDIA's `mma.sync` on 32 lanes, from Ampere on.
    Mma,
    /// `mma.sync` and Hopper's `wgmma` on 128 threads.
    Wgmma,
}

/// A GPU that code is generated for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GpuSpec {
    /// The platform.
    pub platform: Platform,
    /// Its compilers' name of the instruction set: `gfx942`, `sm_90`.
    pub arch: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Lanes of a wave (warp).
    pub wave: u32,
    /// Bytes of shared memory (LDS) that a block may have.
    pub shared_bytes: u32,
    /// Most threads of a block.
    pub max_threads: u32,
    /// The matrix unit.
    pub matrix: Matrix,
    /// Compute units (streaming multiprocessors) of a usual part.
    pub units: u32,
    /// Vector registers of a lane of a SIMD, all waves together; 0 where they are not counted here.
    pub registers: u32,
    /// A wave takes a multiple of this many.
    pub register_granule: u32,
    /// Most waves of a SIMD.
    pub waves: u32,
    /// The oldest LLVM that compiles for it; 0 where NVRTC does.
    pub llvm: u32,
}

macro_rules! gpus { ($($platform:ident $arch:literal wave $wave:literal shared $shared:literal $matrix:expr, units $units:literal registers $registers:literal by $granule:literal waves $waves:literal llvm $llvm:literal $about:literal;)*) => {
    /// The GPUs known by name.
    pub const GPUS: &[GpuSpec] = &[$(GpuSpec {
        platform: Platform::$platform, arch: $arch, about: $about, wave: $wave, shared_bytes: $shared << 10,
        max_threads: 1024, matrix: $matrix, units: $units, registers: $registers,
        register_granule: $granule, waves: $waves, llvm: $llvm,
    }),*];
} }

// Waves, LDS and matrix units as LLVM's "User Guide for AMDGPU Backend" and NVIDIA's "CUDA C++ Programming
// Guide" give them; compute units are those of the largest part sold. Registers and waves of a SIMD
// as LLVM 19 allocates them (`GCNSubtarget`); the generic targets count those of the smallest part.
gpus! {
    Hip "gfx908"  wave 64 shared 64 Matrix::Mfma { bf16_1k: false }, units 120 registers 256 by 4 waves 10 llvm 15 "Instinct MI100";
    Hip "gfx90a"  wave 64 shared 64 Matrix::Mfma { bf16_1k: true }, units 104 registers 512 by 8 waves 8 llvm 15 "Instinct MI210, MI250";
    Hip "gfx942"  wave 64 shared 64 Matrix::Mfma { bf16_1k: true }, units 304 registers 512 by 8 waves 8 llvm 17 "Instinct MI300, MI325";
    Hip "gfx950"  wave 64 shared 160 Matrix::Mfma { bf16_1k: true }, units 256 registers 512 by 8 waves 8 llvm 20 "Instinct MI350, MI355";
    Hip "gfx1030" wave 32 shared 64 Matrix::None, units 80 registers 1024 by 16 waves 16 llvm 15 "Radeon RX 6800, 6900";
    Hip "gfx1100" wave 32 shared 64 Matrix::Wmma3, units 96 registers 1536 by 24 waves 16 llvm 16 "Radeon RX 7900";
    Hip "gfx1101" wave 32 shared 64 Matrix::Wmma3, units 60 registers 1536 by 24 waves 16 llvm 16 "Radeon RX 7700, 7800";
    Hip "gfx1102" wave 32 shared 64 Matrix::Wmma3, units 32 registers 1024 by 16 waves 16 llvm 16 "Radeon RX 7600";
    Hip "gfx1151" wave 32 shared 64 Matrix::Wmma3, units 40 registers 1536 by 24 waves 16 llvm 17 "Ryzen AI Max (Radeon 8060S)";
    Hip "gfx1200" wave 32 shared 64 Matrix::Wmma4, units 32 registers 1536 by 24 waves 16 llvm 18 "Radeon RX 9060";
    Hip "gfx1201" wave 32 shared 64 Matrix::Wmma4, units 64 registers 1536 by 24 waves 16 llvm 18 "Radeon RX 9070";
    Hip "gfx9-generic"     wave 64 shared 64 Matrix::None, units 60 registers 256 by 4 waves 10 llvm 19 "any Vega: gfx900 to gfx90c";
    Hip "gfx10-3-generic"  wave 32 shared 64 Matrix::None, units 40 registers 1024 by 16 waves 16 llvm 19 "any RDNA 2: gfx1030 to gfx1036";
    Hip "gfx11-generic"    wave 32 shared 64 Matrix::Wmma3, units 40 registers 1024 by 16 waves 16 llvm 19 "any RDNA 3: gfx1100 to gfx1153";
    Hip "gfx12-generic"    wave 32 shared 64 Matrix::Wmma4, units 40 registers 1536 by 24 waves 16 llvm 19 "any RDNA 4: gfx1200, gfx1201";
    Cuda "sm_80"  wave 32 shared 163 Matrix::Mma, units 108 registers 0 by 1 waves 0 llvm 0 "A100";
    Cuda "sm_86"  wave 32 shared 99 Matrix::Mma, units 84 registers 0 by 1 waves 0 llvm 0 "RTX 30, A10";
    Cuda "sm_89"  wave 32 shared 99 Matrix::Mma, units 128 registers 0 by 1 waves 0 llvm 0 "RTX 40, L4, L40";
    Cuda "sm_90"  wave 32 shared 227 Matrix::Wgmma, units 132 registers 0 by 1 waves 0 llvm 0 "H100, H200";
}

impl GpuSpec {
    /// The GPU of this target name (`hip:gfx942`); `None` if the table has no such row.
    pub fn named(name: &str) -> Option<&'static GpuSpec> {
        GPUS.iter().find(|gpu| {
            name.strip_prefix(gpu.platform.name()).and_then(|rest| rest.strip_prefix(':')) == Some(gpu.arch)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_differ() {
        assert_eq!(GpuSpec::named("hip:gfx942").map(|gpu| gpu.wave), Some(64));
        assert_eq!(GpuSpec::named("cuda:sm_90").map(|gpu| gpu.matrix), Some(Matrix::Wgmma));
        assert!(GpuSpec::named("cuda:gfx942").is_none() && GpuSpec::named("gfx942").is_none());
        for (k, gpu) in GPUS.iter().enumerate() {
            assert!(GPUS[..k].iter().all(|other| other.arch != gpu.arch), "{} stands twice", gpu.arch);
        }
    }
}
