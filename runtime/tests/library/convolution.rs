//! Convolutions by MIOpen.
use super::common::{Build, dim, floats, gpu_launch};
use super::hip_double::{Double, over_double, over_old_double};
use super::{code, values};
use sardonyx_runtime::manifest::{Bias, Convolution, Image, LibraryCall, Step, Weights};
use sardonyx_runtime::tensor::{DType, Tensor};
use sardonyx_runtime::{Device, Program, Session};

/// What follows the sum, as the kernel has it.
const BIAS: i64 = 1;
const RESIDUAL: i64 = 2;
const RELU: i64 = 4;
const ALL: i64 = BIAS | RESIDUAL | RELU;

/// A case: what follows the sum, the distance between channels of neighbours, how often the kernel forms each sum.
#[derive(Clone, Copy)]
struct Case {
    forms: i64,
    pitch: usize,
    rounds: i64,
}

const FASTER: Case = Case { forms: ALL, pitch: 4, rounds: 300 };

fn image(arg: usize, strides: [&str; 4]) -> Image {
    Image { arg, offset: dim("0"), strides: strides.map(dim) }
}

/// `z = convolve(x)` for `x: f32[2, h, 6, pitch]`: see `kernels.hip`.
fn program(code: &[u8], case: Case, change: impl Fn(&mut Convolution)) -> Program {
    let Case { forms, pitch, rounds } = case;
    let mut build = Build::for_gpu("hip:host", code);
    let x = build.input("x", DType::F32, &format!("2,h,6,{pitch}"));
    let (w, bias) = (build.weight("w", &weight()), build.weight("bias", &bias()));
    let residual = build.input("residual", DType::F32, "2,(h + 1)/2,3,6");
    let z = build.output("z", DType::F32, "2,(h + 1)/2,3,6");
    let dims = format!("h,(h + 1)/2,{pitch},{forms},(h + 1)/2*36,{rounds}");
    let mut step = gpu_launch("convolve", &[x, w, bias, residual, z], &dims, "((h + 1)/2*36 + 63)/64");
    let Step::Launch(launch) = &mut step else { unreachable!("a launch was made") };
    let out = |arg| image(arg, ["(h + 1)/2*18", "1", "18", "6"]);
    let (row, whole) = ((6 * pitch).to_string(), format!("h*{}", 6 * pitch));
    let mut convolution = Convolution {
        dtype: DType::F32,
        batch: dim("2"),
        groups: 2,
        in_channels: 2,
        out_channels: 3,
        input: [dim("h"), dim("6")],
        output: [dim("(h + 1)/2"), dim("3")],
        kernel: [3, 3],
        strides: [2, 2],
        pads: [1, 1],
        dilations: [1, 1],
        x: image(0, [&whole, "1", &row, &pitch.to_string()]),
        w: Weights { arg: 1, offset: dim("0"), by_channels: true },
        bias: (forms & BIAS != 0).then(|| Bias { arg: 2, offset: dim("0") }),
        residual: (forms & RESIDUAL != 0).then(|| out(3)),
        relu: forms & RELU != 0,
        out: out(4),
    };
    change(&mut convolution);
    launch.library = Some(LibraryCall::Convolution(Box::new(convolution)));
    build.step(step);
    build.program()
}

fn weight() -> Tensor {
    floats(&[6, 3, 3, 2], |i| (i * 7 % 11) as f32 - 5.0)
}

fn bias() -> Tensor {
    floats(&[6], |i| i as f32 * 3.0 - 7.0)
}

/// Runs at some sizes, each several times, so that runs are recorded and replayed.
fn check(session: &mut Session, Case { forms, pitch, .. }: Case) {
    for rows in [3usize, 6, 3] {
        let outs = rows.div_ceil(2);
        let x = floats(&[2, rows, 6, pitch], |i| (i * 5 % 13) as f32 - 6.0);
        let residual = floats(&[2, outs, 3, 6], |i| (i * 11 % 17) as f32 - 8.0);
        let [xs, ws, bs, rs] = [&x, &weight(), &bias(), &residual].map(values);
        let expected = floats(&[2, outs, 3, 6], |i| {
            let (c, column, row, image) = (i % 6, i / 6 % 3, i / 18 % outs, i / 18 / outs);
            let taps = (0..3).flat_map(|r| (0..3).map(move |s| (r, s)));
            let inside = taps.filter_map(|(r, s)| {
                let (y, at) = ((row * 2 + r).checked_sub(1)?, (column * 2 + s).checked_sub(1)?);
                (y < rows && at < 6).then_some((r, s, ((image * rows + y) * 6 + at) * pitch))
            });
            let tap = |k, (r, s, place)| ws[((c * 3 + r) * 3 + s) * 2 + k] * xs[place + c / 3 * 2 + k];
            let mut sum: f32 = inside.map(|inside| tap(0, inside) + tap(1, inside)).sum();
            sum += if forms & BIAS != 0 { bs[c] } else { 0.0 };
            sum += if forms & RESIDUAL != 0 { rs[i] } else { 0.0 };
            if forms & RELU != 0 { sum.max(0.0) } else { sum }
        });
        for _ in 0..4 {
            let outputs = session.run([("x", x.clone()), ("residual", residual.clone())]).unwrap();
            assert_eq!(outputs, std::slice::from_ref(&expected), "{rows} rows");
        }
    }
}

/// Checks a case over the double; the convolutions by MIOpen that are expected.
fn over(
    test: &str,
    settings: &str,
    case: Case,
    change: fn(&mut Convolution),
    expected: Option<usize>,
    then: impl Fn(&Double),
) {
    over_double(&format!("convolution::{test}"), settings, code, |code, double| {
        let mut session = program(code, case, change).session(Device::hip(0)).unwrap();
        check(&mut session, case);
        let expected: Vec<_> = expected.map(|count| ("MIOpen", count)).into_iter().collect();
        assert_eq!(session.libraries(), expected);
        assert!(double.calls("hipGraphLaunch") > 0, "runs should have been replayed");
        then(double);
    });
}

#[test]
fn the_library_is_used_where_it_is_faster() {
    over(
        "the_library_is_used_where_it_is_faster",
        "",
        FASTER,
        |_| {},
        Some(2),
        |double| {
            // For each of two sizes: a warm run of the kernel, and five that are timed.
            assert_eq!(double.calls("hipModuleLaunchKernel"), 2 * 6);
            assert_eq!(double.calls("miopenFindConvolutionForwardAlgorithm"), 2);
            let calls =
                ["miopenConvolutionForward", "miopenActivationForward"].map(|name| double.calls(name));
            assert_eq!(calls[0], calls[1]);
            assert_eq!(double.calls("miopenOpTensor"), 2 * calls[0]);
        },
    );
}

#[test]
fn the_kernel_is_used_where_it_is_faster() {
    let case = Case { rounds: 1, ..FASTER };
    over(
        "the_kernel_is_used_where_it_is_faster",
        "slow=miopen",
        case,
        |_| {},
        Some(0),
        |double| {
            assert_eq!(double.calls("miopenConvolutionForward"), 2 * 6);
        },
    );
}

#[test]
fn every_form() {
    over_double("convolution::every_form", "", code, |code, _| {
        for forms in 0..8 {
            let case = Case { forms, ..FASTER };
            let mut session = program(code, case, |_| {}).session(Device::hip(0)).unwrap();
            check(&mut session, case);
            assert_eq!(session.libraries(), [("MIOpen", 2)], "form {forms}");
        }
    });
}

#[test]
fn channels_with_others_between() {
    let case = Case { pitch: 5, ..FASTER };
    over("channels_with_others_between", "", case, |_| {}, Some(2), |_| {});
}

#[test]
fn without_the_library_kernels_do_its_work() {
    let settings = "fail=miopenCreateWithStream:1:7";
    over(
        "without_the_library_kernels_do_its_work",
        settings,
        FASTER,
        |_| {},
        None,
        |double| {
            assert_eq!(double.calls("miopenConvolutionForward"), 0);
        },
    );
}

#[test]
fn a_library_that_is_too_old_is_not_needed() {
    over_old_double("convolution::a_library_that_is_too_old_is_not_needed", "MIOPEN", code, |code| {
        let mut session = program(code, FASTER, |_| {}).session(Device::hip(0)).unwrap();
        check(&mut session, FASTER);
        assert_eq!(session.libraries(), []);
    });
}

#[test]
fn a_library_that_refuses_is_not_needed() {
    for function in [
        "miopenSet4dTensorDescriptorEx",
        "miopenCreateTensorDescriptor",
        "miopenCreateConvolutionDescriptor",
        "miopenInitConvolutionDescriptor",
        "miopenSetConvolutionGroupCount",
        "miopenCreateActivationDescriptor",
        "miopenSetActivationDescriptor",
        "miopenConvolutionForwardGetWorkSpaceSize",
        "miopenFindConvolutionForwardAlgorithm",
        "miopenConvolutionForward",
        "miopenOpTensor",
        "miopenActivationForward",
    ] {
        let settings = format!("fail={function}:1:3");
        // In the child process, only what it was started for.
        if std::env::var("HIP_DOUBLE").is_ok_and(|own| own != settings) {
            continue;
        }
        over("a_library_that_refuses_is_not_needed", &settings, FASTER, |_| {}, Some(1), |_| {});
    }
}

#[test]
fn convolutions_beyond_their_buffers_are_left_to_the_kernel() {
    let test = "convolutions_beyond_their_buffers_are_left_to_the_kernel";
    let change = |convolution: &mut Convolution| convolution.x.strides[0] = dim("h*25");
    over(test, "", FASTER, change, Some(0), |double| {
        assert_eq!(double.calls("miopenFindConvolutionForwardAlgorithm"), 0);
    });
}

#[test]
fn results_over_operands_are_left_to_the_kernel() {
    let test = "results_over_operands_are_left_to_the_kernel";
    let change = |convolution: &mut Convolution| {
        convolution.residual = Some(convolution.out.clone());
    };
    over(test, "", FASTER, change, Some(0), |double| {
        assert_eq!(double.calls("miopenFindConvolutionForwardAlgorithm"), 0);
    });
}

#[test]
fn another_padding_is_left_to_the_kernel() {
    let test = "another_padding_is_left_to_the_kernel";
    let change = |convolution: &mut Convolution| convolution.output[1] = dim("2");
    over(test, "", FASTER, change, Some(0), |double| {
        assert_eq!(double.calls("miopenCreateConvolutionDescriptor"), 0);
    });
}

#[test]
fn a_program_that_names_what_is_not_there_is_refused() {
    over_double("convolution::a_program_that_names_what_is_not_there_is_refused", "", code, |code, _| {
        let refused = |change: fn(&mut Convolution)| {
            let build = std::panic::AssertUnwindSafe(|| program(code, FASTER, change));
            let message = std::panic::catch_unwind(build).expect_err("the program should be refused");
            message.downcast_ref::<String>().cloned().unwrap_or_default()
        };
        for change in [
            |c: &mut Convolution| c.x.arg = 5,
            |c: &mut Convolution| c.w.arg = 5,
            |c: &mut Convolution| c.bias = Some(Bias { arg: 5, offset: dim("0") }),
            |c: &mut Convolution| c.residual = Some(image(5, ["1"; 4])),
            |c: &mut Convolution| c.out.arg = 5,
        ] {
            assert!(refused(change).contains("argument 5 of the convolution does not exist"));
        }
        assert!(refused(|c| c.dtype = DType::F64).contains("libraries do not compute with f64"));
        for change in [
            |c: &mut Convolution| c.batch = dim("q"),
            |c: &mut Convolution| c.input[1] = dim("q"),
            |c: &mut Convolution| c.output[0] = dim("q"),
            |c: &mut Convolution| c.x.strides[2] = dim("q"),
            |c: &mut Convolution| c.w.offset = dim("q"),
            |c: &mut Convolution| c.bias = Some(Bias { arg: 2, offset: dim("q") }),
        ] {
            assert!(refused(change).contains("the convolution"));
        }
    });
}
