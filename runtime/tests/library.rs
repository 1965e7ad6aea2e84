//! What the vendor's libraries compute: over the HIP test double, which is a double of rocBLAS and MIOpen too.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;
#[path = "library/convolution.rs"]
mod convolution;
#[path = "../../tests/hip_double/mod.rs"]
mod hip_double;

use common::{GPU_KERNELS, GPU_TABLE, dim, floats, gpu_launch};
use hip_double::{Double, over_double};
use sardonyx_runtime::manifest::{LibraryCall, Matrix, Product, Step};
use sardonyx_runtime::tensor::{DType, Tensor};
use sardonyx_runtime::{Device, Program, Session};

fn code() -> Vec<u8> {
    let names: Vec<&str> = GPU_TABLE.iter().map(|row| row.0).collect();
    hip_double::code_object(GPU_KERNELS, &names)
}

fn matrix(arg: usize, pitch: &str, slice: &str, columns: bool) -> Matrix {
    Matrix { arg, offset: dim("0"), pitch: dim(pitch), slice: dim(slice), columns }
}

/// `z[i, r, c] = Σ_k x[i, r, k] · y[c, k]` for `x: f32[2, m, 5]`; its kernel forms each sum so many times.
fn program(code: &[u8], rounds: &str, change: impl Fn(&mut Product)) -> Program {
    let mut build = common::Build::for_gpu("hip:host", code);
    let x = build.input("x", DType::F32, "2,m,5");
    let y = build.weight("y", &weight());
    let z = build.output("z", DType::F32, "2,m,4");
    let mut step = gpu_launch("product", &[x, y, z], &format!("m*8,{rounds}"), "(m*8 + 63)/64");
    let Step::Launch(launch) = &mut step else { unreachable!("a launch was made") };
    let mut product = Product {
        dtype: DType::F32,
        out_dtype: DType::F32,
        batch: dim("2"),
        m: dim("m"),
        n: dim("4"),
        k: dim("5"),
        a: matrix(0, "5", "m*5", false),
        b: matrix(1, "5", "0", true),
        out: matrix(2, "4", "m*4", false),
    };
    change(&mut product);
    launch.library = Some(LibraryCall::Product(Box::new(product)));
    build.step(step);
    build.program()
}

fn weight() -> Tensor {
    floats(&[4, 5], |i| (i * 7 % 11) as f32 - 3.0)
}

/// Runs at some sizes, each several times, so that runs are recorded and replayed.
fn check(session: &mut Session) {
    for m in [3, 6, 3] {
        let x = floats(&[2, m, 5], |i| (i * 5 % 13) as f32 - 4.0);
        let (xs, ys): (Vec<f32>, Vec<f32>) = (values(&x), values(&weight()));
        let expected = floats(&[2, m, 4], |i| (0..5).map(|k| xs[i / 4 * 5 + k] * ys[i % 4 * 5 + k]).sum());
        for _ in 0..4 {
            assert_eq!(session.run([("x", x.clone())]).unwrap(), std::slice::from_ref(&expected));
        }
    }
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.bytes().chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// Checks a program over the double; the products by rocBLAS that are expected.
fn over(
    test: &str,
    settings: &str,
    rounds: &str,
    change: fn(&mut Product),
    expected: Option<(&str, usize)>,
    then: impl Fn(&Double),
) {
    over_double(test, settings, code, |code, double| {
        let mut session = program(code, rounds, change).session(Device::hip(0)).unwrap();
        check(&mut session);
        assert_eq!(session.libraries(), Vec::from_iter(expected));
        assert!(double.calls("hipGraphLaunch") > 0, "runs should have been replayed");
        then(double);
    });
}

#[test]
fn the_library_is_used_where_it_is_faster() {
    let test = "the_library_is_used_where_it_is_faster";
    over(
        test,
        "",
        "20000",
        |_| {},
        Some(("rocBLAS", 2)),
        |double| {
            // For each of two sizes: a warm run of the kernel, and five that are timed.
            assert_eq!(double.calls("hipModuleLaunchKernel"), 2 * 6);
        },
    );
}

#[test]
fn the_kernel_is_used_where_it_is_faster() {
    let test = "the_kernel_is_used_where_it_is_faster";
    over(
        test,
        "slow=rocblas",
        "1",
        |_| {},
        Some(("rocBLAS", 0)),
        |double| {
            assert_eq!(double.calls("rocblas_gemm_strided_batched_ex"), 2 * 6);
        },
    );
}

#[test]
fn without_the_library_kernels_do_its_work() {
    let test = "without_the_library_kernels_do_its_work";
    over(
        test,
        "fail=rocblas_create_handle:1:6",
        "20000",
        |_| {},
        None,
        |double| {
            assert_eq!(double.calls("rocblas_gemm_strided_batched_ex"), 0);
        },
    );
}

#[test]
fn a_library_that_refuses_is_not_needed() {
    let test = "a_library_that_refuses_is_not_needed";
    let settings = "fail=rocblas_gemm_strided_batched_ex:1:6";
    over(test, settings, "20000", |_| {}, Some(("rocBLAS", 1)), |_| {});
}

#[test]
fn products_beyond_their_buffers_are_left_to_the_kernel() {
    let test = "products_beyond_their_buffers_are_left_to_the_kernel";
    let change = |product: &mut Product| product.a.slice = dim("m*6");
    over(test, "", "20000", change, Some(("rocBLAS", 0)), |double| {
        assert_eq!(double.calls("rocblas_gemm_strided_batched_ex"), 0);
    });
}

#[test]
fn a_program_that_names_what_is_not_there_is_refused() {
    let test = "a_program_that_names_what_is_not_there_is_refused";
    over_double(test, "", code, |code, _| {
        let product = |change: fn(&mut Product)| {
            let build = std::panic::AssertUnwindSafe(|| program(code, "1", change));
            let message = std::panic::catch_unwind(build).expect_err("the program should be refused");
            message.downcast_ref::<String>().cloned().unwrap_or_default()
        };
        assert!(product(|p| p.b.arg = 3).contains("argument 3 of the product does not exist"));
        assert!(product(|p| p.dtype = DType::I8).contains("libraries do not compute with i8"));
        assert!(product(|p| p.a.pitch = dim("q")).contains("the product"));
    });
}
