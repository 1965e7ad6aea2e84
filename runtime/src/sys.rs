//! The libraries of GPU drivers, loaded at run time: tables of functions, with the types of C.
//!
//! Nothing here knows programs or owns memory; `gpu` makes objects of what is here.

mod blas;
mod cuda;
pub(crate) mod cudnn;
mod hip;
mod library;
pub(crate) mod miopen;

use std::ffi::{c_char, c_int, c_uint, c_void};

pub(crate) use blas::{Blas, Columns};
pub(crate) use cuda::{COMPUTE_MAJOR, COMPUTE_MINOR, Cuda, DYNAMIC_SHARED};
pub(crate) use cudnn::Cudnn;
pub(crate) use hip::{Hip, PROPERTIES as HIP_PROPERTIES};
pub(crate) use library::{Library, LoadError};
pub(crate) use miopen::Miopen;

/// What a function returns: 0, or the number of an error.
pub(crate) type Code = c_int;
/// A stream, event, module, function, graph or context of a driver.
pub(crate) type Handle = *mut c_void;
/// Makes something of a library.
pub(crate) type Create = unsafe extern "C" fn(*mut Handle) -> Code;
/// Gives it back.
pub(crate) type Destroy = unsafe extern "C" fn(Handle) -> Code;
/// An address in the memory of a device. HIP calls it `void*`, which is passed in the same way.
pub(crate) type Address = u64;

/// "No device": `hipErrorNoDevice`, `CUDA_ERROR_NO_DEVICE`.
pub(crate) const NO_DEVICE: Code = 100;
/// "Out of memory": `hipErrorOutOfMemory`, `CUDA_ERROR_OUT_OF_MEMORY`.
pub(crate) const OUT_OF_MEMORY: Code = 2;
/// A stream that does not wait for the null stream: `hipStreamNonBlocking`, `CU_STREAM_NON_BLOCKING`.
pub(crate) const NON_BLOCKING: c_uint = 1;
/// Host memory that the device reaches: `hipHostMallocMapped`, `CU_MEMHOSTALLOC_DEVICEMAP`.
pub(crate) const MAPPED: c_uint = 2;
/// A capture that forbids unsafe calls on its own thread only: `hipStreamCaptureModeThreadLocal`.
pub(crate) const CAPTURE_THREAD: c_int = 1;
/// In the extra parameters of a launch: the address of the packed arguments comes next.
pub(crate) const ARGUMENTS: *mut c_void = std::ptr::without_provenance_mut(1);
/// In the extra parameters of a launch: the address of the size of the packed arguments comes next.
pub(crate) const ARGUMENTS_SIZE: *mut c_void = std::ptr::without_provenance_mut(2);

/// Declares a table: each row has the names of a function in HIP and in CUDA, and the types of its arguments.
macro_rules! functions {
    ($($field:ident $hip:ident $cuda:ident ($($type:ty),*);)*) => {
        /// The functions that both drivers have in the same form.
        #[derive(Clone, Copy)]
        pub(crate) struct Functions { $(pub $field: unsafe extern "C" fn($($type),*) -> Code,)* }

        impl Functions {
            /// Those of the library that the crate rocm-rs links.
            #[cfg(feature = "rocm-rs")]
            #[allow(unsafe_code)]
            fn linked_hip() -> Functions {
                // SAFETY: the types differ in names of integers and pointers only: addresses are pointers,
                // handles opaque pointers, codes enums of 32 bits.
                unsafe { Functions { $($field: std::mem::transmute::<
                    *const (), unsafe extern "C" fn($($type),*) -> Code
                >(rocm_rs::hip::bindings::$hip as *const ()),)* } }
            }

            #[cfg_attr(feature = "rocm-rs", allow(dead_code))]
            fn load_hip(library: &Library) -> Result<Functions, LoadError> {
                Ok(Functions { $($field: library.function(stringify!($hip))?,)* })
            }

            fn load_cuda(library: &Library) -> Result<Functions, LoadError> {
                Ok(Functions { $($field: library.function(stringify!($cuda))?,)* })
            }

            /// The names in both drivers.
            #[cfg(test)]
            pub(crate) const NAMES: &[(&str, &str)] = &[$((stringify!($hip), stringify!($cuda))),*];
        }
    };
}

functions! {
    init hipInit cuInit (c_uint);
    driver_version hipDriverGetVersion cuDriverGetVersion (*mut c_int);
    device_count hipGetDeviceCount cuDeviceGetCount (*mut c_int);
    device hipDeviceGet cuDeviceGet (*mut c_int, c_int);
    device_name hipDeviceGetName cuDeviceGetName (*mut c_char, c_int, c_int);
    device_memory hipDeviceTotalMem cuDeviceTotalMem_v2 (*mut usize, c_int);
    allocate hipMalloc cuMemAlloc_v2 (*mut Address, usize);
    free hipFree cuMemFree_v2 (Address);
    allocate_host hipHostMalloc cuMemHostAlloc (*mut *mut c_void, usize, c_uint);
    free_host hipHostFree cuMemFreeHost (*mut c_void);
    copy_to_device hipMemcpyHtoDAsync cuMemcpyHtoDAsync_v2 (Address, *const c_void, usize, Handle);
    copy_to_host hipMemcpyDtoHAsync cuMemcpyDtoHAsync_v2 (*mut c_void, Address, usize, Handle);
    copy hipMemcpyDtoDAsync cuMemcpyDtoDAsync_v2 (Address, Address, usize, Handle);
    set hipMemsetD32Async cuMemsetD32Async (Address, c_uint, usize, Handle);
    stream_create hipStreamCreateWithFlags cuStreamCreate (*mut Handle, c_uint);
    stream_destroy hipStreamDestroy cuStreamDestroy_v2 (Handle);
    stream_synchronize hipStreamSynchronize cuStreamSynchronize (Handle);
    event_create hipEventCreateWithFlags cuEventCreate (*mut Handle, c_uint);
    event_destroy hipEventDestroy cuEventDestroy_v2 (Handle);
    event_record hipEventRecord cuEventRecord (Handle, Handle);
    event_elapsed hipEventElapsedTime cuEventElapsedTime (*mut f32, Handle, Handle);
    module_load hipModuleLoadData cuModuleLoadData (*mut Handle, *const c_void);
    module_unload hipModuleUnload cuModuleUnload (Handle);
    module_function hipModuleGetFunction cuModuleGetFunction (*mut Handle, Handle, *const c_char);
    launch hipModuleLaunchKernel cuLaunchKernel (
        Handle, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, Handle, *mut *mut c_void, *mut *mut c_void
    );
    capture_begin hipStreamBeginCapture cuStreamBeginCapture_v2 (Handle, c_int);
    capture_end hipStreamEndCapture cuStreamEndCapture (Handle, *mut Handle);
    graph_instantiate hipGraphInstantiateWithFlags cuGraphInstantiateWithFlags (*mut Handle, Handle, u64);
    graph_launch hipGraphLaunch cuGraphLaunch (Handle, Handle);
    graph_destroy hipGraphDestroy cuGraphDestroy (Handle);
    replay_destroy hipGraphExecDestroy cuGraphExecDestroy (Handle);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_once() {
        for (at, (hip, cuda)) in Functions::NAMES.iter().enumerate() {
            assert!(hip.starts_with("hip") && cuda.starts_with("cu"));
            assert!(Functions::NAMES[..at].iter().all(|(h, c)| h != hip && c != cuda), "{hip}, {cuda}");
        }
    }
}
