//! Functions that compiled code may call: what LLVM makes calls of by itself, and the mathematics of the
//! standard library.
#![allow(unsafe_code)]

use sardonyx_tensor::{bf16, f16};

unsafe extern "C" {
    fn memcpy(to: *mut u8, from: *const u8, size: usize) -> *mut u8;
    fn memmove(to: *mut u8, from: *const u8, size: usize) -> *mut u8;
    fn memset(to: *mut u8, value: i32, size: usize) -> *mut u8;
    fn memcmp(a: *const u8, b: *const u8, size: usize) -> i32;
}

macro_rules! functions {
    ($name:expr, $($symbol:literal => |$($arg:ident: $type:ty),*| $result:ty { $value:expr })*) => {
        match $name {
            $($symbol => {
                extern "C" fn function($($arg: $type),*) -> $result {
                    $value
                }
                function as *const () as usize
            })*
            _ => return None,
        }
    };
}

/// A 16-bit float as the x86-64 calling convention returns it: in the low bits of a vector register.
fn low_bits(bits: u16) -> f32 {
    f32::from_bits(bits.into())
}

/// The address of a function that code may call.
pub(crate) fn address(name: &str) -> Option<usize> {
    let address = match name {
        "memcpy" => memcpy as *const () as usize,
        "memmove" => memmove as *const () as usize,
        "memset" => memset as *const () as usize,
        "memcmp" => memcmp as *const () as usize,
        _ => functions! { name,
            "fmodf" => |a: f32, b: f32| f32 { a % b }
            "fmod" => |a: f64, b: f64| f64 { a % b }
            "powf" => |a: f32, b: f32| f32 { a.powf(b) }
            "pow" => |a: f64, b: f64| f64 { a.powf(b) }
            "atan2f" => |a: f32, b: f32| f32 { a.atan2(b) }
            "atan2" => |a: f64, b: f64| f64 { a.atan2(b) }
            "expf" => |a: f32| f32 { a.exp() }
            "exp" => |a: f64| f64 { a.exp() }
            "exp2f" => |a: f32| f32 { a.exp2() }
            "exp2" => |a: f64| f64 { a.exp2() }
            "logf" => |a: f32| f32 { a.ln() }
            "log" => |a: f64| f64 { a.ln() }
            "log2f" => |a: f32| f32 { a.log2() }
            "log2" => |a: f64| f64 { a.log2() }
            "log10f" => |a: f32| f32 { a.log10() }
            "log10" => |a: f64| f64 { a.log10() }
            "sinf" => |a: f32| f32 { a.sin() }
            "sin" => |a: f64| f64 { a.sin() }
            "cosf" => |a: f32| f32 { a.cos() }
            "cos" => |a: f64| f64 { a.cos() }
            "tanf" => |a: f32| f32 { a.tan() }
            "tan" => |a: f64| f64 { a.tan() }
            "tanhf" => |a: f32| f32 { a.tanh() }
            "tanh" => |a: f64| f64 { a.tanh() }
            "fmaf" => |a: f32, b: f32, c: f32| f32 { a.mul_add(b, c) }
            "fma" => |a: f64, b: f64, c: f64| f64 { a.mul_add(b, c) }
            "floorf" => |a: f32| f32 { a.floor() }
            "floor" => |a: f64| f64 { a.floor() }
            "ceilf" => |a: f32| f32 { a.ceil() }
            "ceil" => |a: f64| f64 { a.ceil() }
            "truncf" => |a: f32| f32 { a.trunc() }
            "trunc" => |a: f64| f64 { a.trunc() }
            "rintf" => |a: f32| f32 { a.round_ties_even() }
            "rint" => |a: f64| f64 { a.round_ties_even() }
            "roundevenf" => |a: f32| f32 { a.round_ties_even() }
            "roundeven" => |a: f64| f64 { a.round_ties_even() }
            "roundf" => |a: f32| f32 { a.round() }
            "round" => |a: f64| f64 { a.round() }
            "__extendhfsf2" => |a: f32| f32 { f16::from_bits(a.to_bits() as u16).to_f32() }
            "__truncsfhf2" => |a: f32| f32 { low_bits(f16::from_f32(a).to_bits()) }
            "__truncdfhf2" => |a: f64| f32 { low_bits(f16::from_f64(a).to_bits()) }
            "__truncsfbf2" => |a: f32| f32 { low_bits(bf16::from_f32(a).to_bits()) }
            "__truncdfbf2" => |a: f64| f32 { low_bits(bf16::from_f64(a).to_bits()) }
        },
    };
    Some(address)
}
