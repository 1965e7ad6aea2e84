//! Programs on GPUs: over the HIP test double, or on a real device.
//!
//! With `SARDONYX_DEVICE` (`cuda:0`) and `SARDONYX_KERNELS` (the code object of `common/kernels.hip` for it) the
//! same programs run on that device, without the counts that only the double knows:
//!
//! ```text
//! nvcc -x cu -cubin -arch=sm_90 -o kernels.cubin runtime/tests/common/kernels.hip
//! SARDONYX_DEVICE=cuda:0 SARDONYX_KERNELS=kernels.cubin cargo test -p sardonyx-runtime --test gpu
//! ```

#![allow(clippy::unwrap_used)]

mod common;
#[path = "../../tests/hip_double/mod.rs"]
mod hip_double;

use common::*;
use hip_double::{Double, over_double};
use sardonyx_runtime::manifest::*;
use sardonyx_runtime::tensor::{DType, Tensor};
use sardonyx_runtime::{
    Device, DeviceBuffer, DeviceInput, DeviceOutput, Error, Input, Output, Platform, Program, Session,
};

/// A device and its code.
struct Gpu {
    device: Device,
    target: String,
    object: Vec<u8>,
}

impl Gpu {
    fn over_double() -> Gpu {
        let names: Vec<&str> = GPU_TABLE.iter().map(|row| row.0).collect();
        let object = hip_double::code_object(GPU_KERNELS, &names);
        Gpu { device: Device::hip(0), target: "hip:host".into(), object }
    }

    /// The device that the environment names.
    fn real() -> Option<Gpu> {
        let device: Device = std::env::var("SARDONYX_DEVICE").ok()?.parse().unwrap();
        let (platform, number) = device.as_gpu().expect("SARDONYX_DEVICE should name a GPU");
        let info = &Device::list(platform).unwrap()[number as usize];
        let target = format!("{}:{}", platform.name(), info.arch);
        let path = std::env::var("SARDONYX_KERNELS").expect("SARDONYX_KERNELS should name a code object");
        Some(Gpu { device, target, object: std::fs::read(path).unwrap() })
    }

    fn build(&self) -> Build {
        Build::for_gpu(&self.target, &self.object)
    }

    fn session(&self, build: Build) -> Session {
        build.program().session(self.device.clone()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// `z = (x + y) * table`, for `f32[b, 4]`.
    fn add_program(&self) -> Build {
        let mut build = self.build();
        let x = build.input("x", DType::F32, "b,4");
        let y = build.input("y", DType::F32, "b,4");
        let table = build.weight("table", &floats(&[8], |i| (1 << i) as f32));
        let sum = build.workspace(DType::F32, "b,4");
        let z = build.output("z", DType::F32, "b,4");
        build.step(gpu_launch("add", &[x, y, sum], "b*4", "(b*4 + 63)/64"));
        build.step(gpu_launch("times_table", &[sum, table, z], "b*4", "(b*4 + 63)/64"));
        build
    }
}

/// Runs a body on the real device, or over the double: where it then may look at what the double counted.
fn on_gpu(test: &str, body: impl Fn(&Gpu, Option<&Double>)) {
    match Gpu::real() {
        Some(gpu) => body(&gpu, None),
        None => over_double(test, "", Gpu::over_double, |gpu, double| body(gpu, Some(double))),
    }
}

/// Runs a body over the double with settings, where there is no real device.
fn with_settings(test: &str, settings: &str, body: impl FnOnce(&Gpu, &Double)) {
    if std::env::var_os("SARDONYX_DEVICE").is_none() {
        over_double(test, settings, Gpu::over_double, body);
    }
}

fn input<'a>(name: &'a str, tensor: &'a Tensor) -> Input<'a> {
    Input { name, dtype: tensor.dtype(), shape: tensor.shape(), bytes: tensor.bytes() }
}

fn sums(rows: usize) -> (Tensor, Tensor, Tensor) {
    let (x, y) = (floats(&[rows, 4], |i| i as f32), floats(&[rows, 4], |_| 1.0));
    (x, y, floats(&[rows, 4], |i| (i as f32 + 1.0) * (1 << (i % 8)) as f32))
}

#[test]
fn one_program_runs_at_any_size() {
    on_gpu("one_program_runs_at_any_size", |gpu, _| {
        let mut session = gpu.session(gpu.add_program());
        for rows in [1, 3, 1000, 0, 3, 3, 3, 1000, 1000, 1, 0, 0, 70_000, 3] {
            let (x, y, z) = sums(rows);
            assert_eq!(session.run([("y", y), ("x", x)]).unwrap(), [z], "{rows}");
        }
        assert_eq!(session.target(), gpu.target);
        assert_eq!(session.device(), &gpu.device);
        assert!(session.workspace_size() > 0);
    });
}

#[test]
fn a_static_program_is_recorded_once_and_waits_once() {
    on_gpu("a_static_program_is_recorded_once_and_waits_once", |gpu, double| {
        let mut session = gpu.session(gpu.add_program());
        let (x, y, z) = sums(5);
        let names =
            ["hipStreamSynchronize", "hipModuleLaunchKernel", "hipStreamBeginCapture", "hipGraphLaunch"];
        // Waits, launches, recordings and replays of each run.
        let right = [[1, 2, 0, 0], [1, 2, 1, 1], [1, 0, 0, 1], [1, 0, 0, 1]];
        for expected in right {
            let counts = || names.map(|name| double.map_or(0, |double| double.calls(name)));
            let before = counts();
            assert_eq!(session.run([("x", x.clone()), ("y", y.clone())]).unwrap(), std::slice::from_ref(&z));
            let after = counts();
            if double.is_some() {
                assert_eq!([0, 1, 2, 3].map(|i| after[i] - before[i]), expected, "{names:?}");
            }
        }
        // Another size does not disturb the record, though the memory of inputs grows: that is a new place.
        let (small_x, small_y, small_z) = sums(2);
        assert_eq!(session.run([("x", small_x), ("y", small_y)]).unwrap(), [small_z]);
        let replays = double.map(|double| double.calls("hipGraphLaunch"));
        assert_eq!(session.run([("x", x), ("y", y)]).unwrap(), [z]);
        assert_eq!(double.map(|double| double.calls("hipGraphLaunch")), replays.map(|count| count + 1));
    });
}

fn runs_step_by_step_if_the_driver_refuses(test: &str, call: &str) {
    with_settings(test, &format!("fail={call}:1:801"), |gpu, double| {
        let mut session = gpu.session(gpu.add_program());
        let (x, y, z) = sums(5);
        for _ in 0..4 {
            assert_eq!(session.run([("x", x.clone()), ("y", y.clone())]).unwrap(), std::slice::from_ref(&z));
        }
        assert_eq!(double.calls("hipGraphLaunch"), 0);
        assert_eq!(double.calls("hipStreamBeginCapture"), 1);
    });
}

#[test]
fn a_driver_that_does_not_record() {
    runs_step_by_step_if_the_driver_refuses("a_driver_that_does_not_record", "hipStreamBeginCapture");
}

#[test]
fn a_driver_that_loses_a_record() {
    runs_step_by_step_if_the_driver_refuses("a_driver_that_loses_a_record", "hipStreamEndCapture");
}

#[test]
fn a_driver_that_does_not_replay() {
    runs_step_by_step_if_the_driver_refuses("a_driver_that_does_not_replay", "hipGraphInstantiateWithFlags");
}

#[test]
fn scratch_and_shared_memory() {
    on_gpu("scratch_and_shared_memory", |gpu, _| {
        let mut build = gpu.build();
        let x = build.input("x", DType::F32, "r,s");
        let copy = build.workspace(DType::F32, "r,s");
        let y = build.output("y", DType::F32, "r");
        build.step(gpu_launch("through_shared", &[x, copy], "r*s", "(r*s + 63)/64"));
        build.step(gpu_launch("row_sum", &[copy, y], "s", "r"));
        let mut session = gpu.session(build);
        for (r, s) in [(2usize, 3usize), (7, 1000), (2, 3), (2, 3), (2, 3), (300, 5)] {
            let x = floats(&[r, s], |i| (i / s) as f32);
            let expected = floats(&[r], |i| (i * s) as f32);
            assert_eq!(session.run([("x", x)]).unwrap(), [expected]);
        }
    });
}

#[test]
fn inputs_are_copied_to_outputs() {
    on_gpu("inputs_are_copied_to_outputs", |gpu, _| {
        let mut build = gpu.build();
        let x = build.input("x", DType::F32, "n");
        let weight = build.weight("w", &floats(&[3], |i| i as f32));
        let y = build.output("y", DType::F32, "n");
        let w = build.output("w", DType::F32, "3");
        let part = build.buffer(DType::F32, "n - 1", Place::Alias { of: y, offset: dim("4") });
        build.step(Step::Copy { src: x, dst: y });
        build.step(Step::Copy { src: weight, dst: w });
        // The ranges overlap.
        build.step(Step::Copy { src: part, dst: y });
        let mut session = gpu.session(build);
        for _ in 0..3 {
            let outputs = session.run([("x", floats(&[5], |i| i as f32))]).unwrap();
            assert_eq!(outputs[0].to_f64s(), [1.0, 2.0, 3.0, 4.0, 4.0]);
            assert_eq!(outputs[1].to_f64s(), [0.0, 1.0, 2.0]);
        }
    });
}

#[test]
fn if_runs_one_branch() {
    on_gpu("if_runs_one_branch", |gpu, _| {
        let mut build = gpu.build();
        let condition = build.input("condition", DType::Bool, "");
        let x = build.input("x", DType::F32, "n");
        let y = build.output("y", DType::F32, "n");
        let doubled = gpu_launch("add", &[x, x, y], "n", "(n + 63)/64");
        build.step(Step::If {
            condition,
            then: vec![doubled, gpu_launch("add", &[y, x, y], "n", "(n + 63)/64")],
            otherwise: vec![Step::Copy { src: x, dst: y }],
        });
        let mut session = gpu.session(build);
        for (condition, factor) in [(true, 3.0), (false, 1.0), (true, 3.0), (true, 3.0)] {
            let x = floats(&[5], |i| i as f32);
            let outputs = session.run([("condition", Tensor::scalar(condition)), ("x", x)]).unwrap();
            assert_eq!(outputs[0], floats(&[5], |i| i as f32 * factor));
        }
    });
}

#[test]
fn the_data_decides_a_size() {
    on_gpu("the_data_decides_a_size", |gpu, _| {
        let mut build = gpu.build();
        let x = build.input("x", DType::F32, "n");
        let table = build.weight("table", &floats(&[8], |i| (1 << i) as f32));
        let count = build.workspace(DType::I64, "");
        let taken = build.late(DType::F32, "u0");
        let y = build.output("y", DType::F32, "u0");
        build.step(gpu_launch("count_positive", &[x, count], "n", "1"));
        build.step(Step::Bind { buffer: count, symbols: vec!["u0".into()] });
        build.step(gpu_launch("take_positive", &[x, taken], "n", "1"));
        build.step(gpu_launch("times_table", &[taken, table, y], "u0", "(u0 + 63)/64"));
        let mut session = gpu.session(build);
        for values in [vec![1.0f32, -1.0, 3.0], vec![-1.0], vec![2.0; 100], vec![5.0, 6.0]] {
            let x = Tensor::from_slice([values.len()], &values);
            let outputs = session.run([("x", x.clone())]).unwrap();
            let kept = values.iter().filter(|&&value| value > 0.0);
            let expected: Vec<f32> = kept.enumerate().map(|(i, v)| v * (1 << (i % 8)) as f32).collect();
            assert_eq!(outputs, [Tensor::from_slice([expected.len()], &expected)]);
            let mut bytes = vec![0; expected.len() * 4];
            session.run_into(&[input("x", &x)], &mut [Output { name: "y", bytes: &mut bytes }]).unwrap();
            assert_eq!(bytes, Tensor::from_slice([expected.len()], &expected).bytes());
        }
    });
}

#[test]
fn loops_carry_and_collect() {
    on_gpu("loops_carry_and_collect", |gpu, _| {
        for reverse in [false, true] {
            let mut session = gpu.session(loop_program(gpu, reverse));
            for (limit, trips) in [(1e9f32, 4i64), (5.0, 100), (-1.0, 100), (1e9, 0), (1e9, -7), (1e9, 40)] {
                let (mut x, mut all) = ([0.0f32, 100.0], Vec::new());
                for i in 0..trips {
                    if x[0] >= limit {
                        break;
                    }
                    x = [x[0] + i as f32, x[1] + i as f32];
                    all.push(x);
                }
                if reverse {
                    all.reverse();
                }
                let given = [
                    ("x", Tensor::from_slice([2], &[0.0f32, 100.0])),
                    ("limit", Tensor::scalar(limit)),
                    ("trips", Tensor::scalar(trips)),
                ];
                let outputs = session.run(given).unwrap();
                assert_eq!(outputs[0], Tensor::from_slice([2], &x));
                assert_eq!(outputs[1], Tensor::from_slice([all.len(), 2], all.as_flattened()));
            }
        }
    });
}

/// `while x < limit && i < trips { x = x + i; ys += [x] }`.
fn loop_program(gpu: &Gpu, reverse: bool) -> Build {
    let mut build = gpu.build();
    let start = build.input("x", DType::F32, "2");
    let limit = build.input("limit", DType::F32, "");
    let trips = build.input("trips", DType::I64, "");
    let iteration = build.workspace(DType::I64, "");
    let condition = build.workspace(DType::Bool, "");
    let state = build.workspace(DType::F32, "2");
    let next = build.workspace(DType::F32, "2");
    let next_condition = build.workspace(DType::Bool, "");
    let last = build.output("last", DType::F32, "2");
    let all = build.output("all", DType::F32, "n,2");
    build.step(Step::Copy { src: start, dst: state });
    build.step(gpu_launch("less", &[state, limit, condition], "", "1"));
    build.step(Step::Loop(Box::new(Loop {
        trip: Some(Trip::Buffer(trips)),
        condition: Some(condition),
        iteration: Some(iteration),
        count: Some("n".into()),
        carried: vec![
            Carried { state, next, resize: vec![] },
            Carried { state: condition, next: next_condition, resize: vec![] },
        ],
        scan_outputs: vec![Scan { whole: all, slice: next, reverse }],
        body: vec![
            gpu_launch("add_iteration", &[state, iteration, next], "2", "1"),
            gpu_launch("less", &[next, limit, next_condition], "", "1"),
        ],
        ..Loop::default()
    })));
    build.step(Step::Copy { src: state, dst: last });
    build
}

#[test]
fn a_carried_value_may_grow() {
    on_gpu("a_carried_value_may_grow", |gpu, _| {
        // Each iteration carries twice as many elements: the first half are the old ones.
        let mut build = gpu.build();
        let x = build.input("x", DType::F32, "1");
        let trips = build.input("trips", DType::I64, "");
        let state = build.late(DType::F32, "n");
        let next = build.late(DType::F32, "m");
        let half = build.buffer(DType::F32, "n", Place::Alias { of: next, offset: dim("n*4") });
        let y = build.output("y", DType::F32, "n");
        build.step(Step::Set { symbol: "n".into(), value: dim("1") });
        build.step(Step::Copy { src: x, dst: state });
        build.step(Step::Loop(Box::new(Loop {
            trip: Some(Trip::Buffer(trips)),
            carried: vec![Carried { state, next, resize: vec![("n".into(), dim("m"))] }],
            body: vec![
                Step::Set { symbol: "m".into(), value: dim("n*2") },
                Step::Copy { src: state, dst: next },
                gpu_launch("add", &[state, state, half], "n", "(n + 63)/64"),
            ],
            ..Loop::default()
        })));
        build.step(Step::Copy { src: state, dst: y });
        let mut session = gpu.session(build);
        for trips in [0u32, 3, 1, 12] {
            let given = [("x", floats(&[1], |_| 1.0)), ("trips", Tensor::scalar(i64::from(trips)))];
            let outputs = session.run(given).unwrap();
            assert_eq!(outputs[0], floats(&[1 << trips], |i| (1u32 << i.count_ones()) as f32));
        }
    });
}

#[test]
fn host_operations_get_copies() {
    on_gpu("host_operations_get_copies", |gpu, _| {
        let mut build = gpu.build();
        let x = build.input("x", DType::F32, "n");
        let k = build.input("k", DType::I64, "1");
        let twice = build.workspace(DType::F32, "n");
        let values = build.late(DType::F32, "u1");
        let places = build.output("places", DType::I64, "u1");
        let sum = build.output("sum", DType::F32, "u1");
        build.step(gpu_launch("add", &[x, x, twice], "n", "(n + 63)/64"));
        build.step(Step::Host(Host {
            op: "topk".into(),
            inputs: vec![twice, k],
            outputs: vec![values, places],
            attrs: serde_json::json!({}),
            binds: vec!["u1".into()],
            origins: vec![0],
        }));
        build.step(gpu_launch("add", &[values, values, sum], "u1", "(u1 + 63)/64"));
        let mut session = gpu.session(build);
        for k in [2i64, 3, 1, 200] {
            let x = floats(&[200], |i| ((i * 7) % 200) as f32);
            let outputs = session.run([("x", x), ("k", Tensor::from_slice([1], &[k]))]).unwrap();
            let expected: Vec<f64> = (0..k).map(|i| 4.0 * (199 - i) as f64).collect();
            assert_eq!(outputs[1].to_f64s(), expected);
            let first = outputs[0].to_i64s()[0] * 7 % 200;
            assert_eq!((first, outputs[0].shape()), (199, &[k as usize][..]));
        }
    });
}

#[test]
fn sessions_share_code_and_weights() {
    on_gpu("sessions_share_code_and_weights", |gpu, double| {
        let program = gpu.add_program().program();
        let first = program.session(gpu.device.clone()).unwrap();
        let modules = double.map(|double| double.calls("hipModuleLoadData"));
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let program = &program;
                scope.spawn(move || {
                    let mut session = program.session(gpu.device.clone()).unwrap();
                    for round in 0..20 {
                        let (x, y, z) = sums(1 + (round / 4 + thread) % 5);
                        assert_eq!(session.run([("x", x), ("y", y)]).unwrap(), [z]);
                    }
                });
            }
        });
        assert_eq!(double.map(|double| double.calls("hipModuleLoadData")), modules);
        drop(first);
        if let Some(double) = double {
            assert_eq!(double.memory(), 0, "without sessions nothing is kept");
        }
    });
}

#[test]
fn several_devices() {
    with_settings("several_devices", "devices=2", |gpu, double| {
        let program = gpu.add_program().program();
        let mut sessions = [0, 1].map(|number| program.session(Device::hip(number)).unwrap());
        for _ in 0..4 {
            for session in &mut sessions {
                let (x, y, z) = sums(3);
                assert_eq!(session.run([("x", x), ("y", y)]).unwrap(), [z]);
            }
        }
        assert_eq!(double.calls("hipModuleLoadData"), 2);
        // A buffer is not used on another device.
        let (x, y, _) = sums(3);
        let mut buffer = DeviceBuffer::new(&Device::hip(1), 48).unwrap();
        let outputs = &mut [DeviceOutput { name: "z", buffer: &mut buffer }];
        let error = sessions[0].run_device(&[input("x", &x), input("y", &y)], &[], outputs).unwrap_err();
        assert_eq!(error.to_string(), "the buffer of `z` is on hip:1, the session on hip:0");
        let info = Device::list(Platform::Hip).unwrap();
        assert_eq!(
            (info.len(), info[1].device.to_string(), info[1].arch.as_str()),
            (2, "hip:1".into(), "host")
        );
        assert_eq!((info[0].name.as_str(), info[0].memory), ("HIP test double", 1 << 30));
        assert_eq!(info[0].driver, "HIP 6.3.42134 (libamdhip64.so.7)");
    });
}

#[test]
fn buffers_of_the_device_are_used_without_copies() {
    on_gpu("buffers_of_the_device_are_used_without_copies", |gpu, double| {
        let mut session = gpu.session(gpu.add_program());
        let (x, y, z) = sums(3);
        let shape = [3, 4];
        let mut on_device = DeviceBuffer::new(&gpu.device, 48).unwrap();
        on_device.upload(x.bytes()).unwrap();
        let mut results = [0, 1].map(|_| DeviceBuffer::new(&gpu.device, 48).unwrap());
        for round in 0..8 {
            let before = double.map(|double| double.calls("hipMemcpyHtoDAsync"));
            let result = &mut results[round % 2];
            let inputs = [DeviceInput { name: "x", dtype: DType::F32, shape: &shape, buffer: &on_device }];
            let outputs = &mut [DeviceOutput { name: "z", buffer: result }];
            session.run_device(&[input("y", &y)], &inputs, outputs).unwrap();
            // Only `y` is copied.
            assert_eq!(
                double.map(|double| double.calls("hipMemcpyHtoDAsync")),
                before.map(|count| count + 1)
            );
            let mut bytes = [0; 48];
            result.download(&mut bytes).unwrap();
            assert_eq!(bytes, z.bytes());
        }
        // Buffers that take turns are recorded one by one only where a place comes twice in a row.
        let inputs = [DeviceInput { name: "x", dtype: DType::F32, shape: &shape, buffer: &on_device }];
        for _ in 0..3 {
            session.run_device(&[input("y", &y)], &inputs, &mut []).unwrap();
            assert_eq!(session.outputs(), std::slice::from_ref(&z));
        }
        let error = on_device.upload(&[0; 49]).unwrap_err().to_string();
        assert_eq!(error, "the buffer of `the device` has 48 bytes, fewer than the 49 to copy");
        let wrong = [DeviceInput { name: "x", dtype: DType::F32, shape: &[2, 4], buffer: &on_device }];
        let error = session.run_device(&[input("y", &y)], &wrong, &mut []).unwrap_err().to_string();
        assert_eq!(error, "the buffer of `x` has 48 bytes, not 32");
        let error = DeviceBuffer::new(&Device::cpu(), 4).unwrap_err().to_string();
        assert_eq!(error, "no device `cpu`: the memory of a CPU is that of the host");
    });
}

#[test]
fn an_output_of_unknown_size_goes_to_the_device() {
    on_gpu("an_output_of_unknown_size_goes_to_the_device", |gpu, _| {
        let mut build = gpu.build();
        let x = build.input("x", DType::F32, "n");
        let count = build.workspace(DType::I64, "");
        let y = build.output("y", DType::F32, "u0");
        build.step(gpu_launch("count_positive", &[x, count], "n", "1"));
        build.step(Step::Bind { buffer: count, symbols: vec!["u0".into()] });
        build.step(gpu_launch("take_positive", &[x, y], "n", "1"));
        let mut session = gpu.session(build);
        let x = Tensor::from_slice([4], &[1.0f32, -1.0, 2.0, -3.0]);
        let mut result = DeviceBuffer::new(&gpu.device, 8).unwrap();
        let outputs = &mut [DeviceOutput { name: "y", buffer: &mut result }];
        session.run_device(&[input("x", &x)], &[], outputs).unwrap();
        let mut bytes = [0; 8];
        result.download(&mut bytes).unwrap();
        assert_eq!(bytes, Tensor::from_slice([2], &[1.0f32, 2.0]).bytes());
        let mut small = DeviceBuffer::new(&gpu.device, 4).unwrap();
        let outputs = &mut [DeviceOutput { name: "y", buffer: &mut small }];
        let error = session.run_device(&[input("x", &x)], &[], outputs).unwrap_err().to_string();
        assert_eq!(error, "the buffer of `y` has 4 bytes, not 8");
    });
}

#[test]
fn events_measure_steps() {
    on_gpu("events_measure_steps", |gpu, double| {
        let mut session = gpu.session(gpu.add_program());
        session.set_profiling(true);
        for _ in 0..3 {
            let (x, y, z) = sums(1000);
            assert_eq!(session.run([("x", x), ("y", y)]).unwrap(), [z]);
        }
        let profile = session.profile();
        let steps: Vec<_> = profile.iter().map(|p| (p.step, p.label.as_str(), p.calls)).collect();
        assert_eq!(steps, [(0, "add", 3), (1, "times_table", 3)]);
        assert!(profile.iter().all(|step| !step.time.is_zero()));
        session.set_profiling(false);
        let (x, y, z) = sums(1000);
        for _ in 0..3 {
            assert_eq!(session.run([("x", x.clone()), ("y", y.clone())]).unwrap(), std::slice::from_ref(&z));
        }
        assert_ne!(double.map(|double| double.calls("hipGraphLaunch")), Some(0));
    });
}

fn refusal(gpu: &Gpu, build: Build) -> String {
    build.program().session(gpu.device.clone()).unwrap_err().to_string()
}

#[test]
fn no_device() {
    with_settings("no_device", "devices=0", |gpu, _| {
        assert_eq!(
            refusal(gpu, gpu.add_program()),
            "no device `hip:0`: AMD's driver finds no device: no ROCm-capable device is detected \
             (hipErrorNoDevice, 100)"
        );
        let error = Device::list(Platform::Hip).unwrap_err().to_string();
        assert!(error.starts_with("no device `hip`: AMD's driver finds no device"), "{error}");
    });
}

#[test]
fn no_device_of_this_number() {
    with_settings("no_device_of_this_number", "", |gpu, _| {
        let error = gpu.add_program().program().session(Device::hip(1)).unwrap_err().to_string();
        assert_eq!(error, "no device `hip:1`: AMD's driver finds 1 device");
    });
}

#[test]
fn the_wrong_arch() {
    with_settings("the_wrong_arch", "arch=gfx942:sramecc+:xnack-", |gpu, _| {
        assert_eq!(
            refusal(gpu, gpu.add_program()),
            "the program does not run on hip:0, a gfx942: target hip:host is for host"
        );
        let mut build = gpu.add_program();
        build.target.name = "cuda:sm_90".into();
        assert_eq!(
            refusal(gpu, build),
            "the program does not run on hip:0, a gfx942: target cuda:sm_90 is for another device"
        );
    });
}

#[test]
fn a_library_that_is_too_old() {
    if std::env::var_os("SARDONYX_DEVICE").is_none() {
        hip_double::over_old_double(
            "a_library_that_is_too_old",
            "HIP",
            || (),
            |()| {
                let error = Device::list(Platform::Hip).unwrap_err().to_string();
                assert_eq!(
                    error,
                    "no device `hip`: AMD's driver library libamdhip64.so.7 is too old: it has no function \
                 `hipGetDeviceProperties`"
                );
            },
        );
    }
}

#[test]
fn a_library_that_is_missing() {
    // One of the two drivers is not here; on a machine that has both, nothing is missing.
    for platform in [Platform::Hip, Platform::Cuda] {
        if let Err(Error::NoDevice { name, reason }) = Device::list(platform) {
            assert_eq!(name, platform.name());
            let known = reason.contains("driver library is not here (tried lib")
                || reason.contains("driver finds no device")
                || reason.contains("does not start");
            assert!(known, "{reason}");
        }
    }
}

#[test]
fn out_of_memory() {
    with_settings("out_of_memory", "memory=100000", |gpu, _| {
        let mut session = gpu.session(gpu.add_program());
        let (x, y, _) = sums(3000);
        let error = session.run([("x", x), ("y", y)]).unwrap_err().to_string();
        assert_eq!(error, "cannot allocate 48000 bytes for input 1 on hip:0");
        // What fits still runs.
        for _ in 0..3 {
            let (x, y, z) = sums(3);
            assert_eq!(session.run([("x", x), ("y", y)]).unwrap(), [z]);
        }
        let mut build = gpu.build();
        build.weight("large", &floats(&[100_000], |_| 0.0));
        let y = build.output("y", DType::F32, "1");
        build.step(gpu_launch("add", &[0, 0, y], "1", "1"));
        assert_eq!(refusal(gpu, build), "cannot allocate 400000 bytes for the weights on hip:0");
        assert_eq!(
            DeviceBuffer::new(&gpu.device, 1 << 20).unwrap_err().to_string(),
            "cannot allocate 1048576 bytes for a buffer on hip:0"
        );
    });
}

#[test]
fn a_launch_that_is_refused() {
    with_settings("a_launch_that_is_refused", "", |gpu, _| {
        let mut build = gpu.add_program();
        build.target.kernels[0].shared = 1 << 20;
        let mut session = gpu.session(build);
        let (x, y, _) = sums(3);
        assert_eq!(
            session.run([("x", x), ("y", y)]).unwrap_err().to_string(),
            "step 0 (add from /layer/Node): hip:0 does not launch `add`: invalid configuration argument \
             (hipErrorInvalidConfiguration, 9)"
        );
    });
}

#[test]
fn a_kernel_that_faults_is_named() {
    with_settings("a_kernel_that_faults_is_named", "fault=times_table", |gpu, _| {
        let program = gpu.add_program().program();
        let mut session = program.session(gpu.device.clone()).unwrap();
        let (x, y, _) = sums(3);
        let given = || [("x", x.clone()), ("y", y.clone())];
        assert_eq!(
            session.run(given()).unwrap_err().to_string(),
            "step 1 (times_table from /layer/Node): hip:0 faulted: an illegal memory access was encountered \
             (hipErrorIllegalAddress, 700)"
        );
        // The device is lost to the process, which is said and does not crash.
        let error = session.run(given()).unwrap_err().to_string();
        assert!(error.contains("an illegal memory access was encountered"), "{error}");
        let error = program.session(gpu.device.clone()).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("an illegal memory access was encountered"), "{error}");
    });
}

#[test]
fn code_objects_that_are_damaged() {
    on_gpu("code_objects_that_are_damaged", |gpu, _| {
        let with_object = |object: &[u8]| refusal(gpu, Build::for_gpu(&gpu.target, object));
        let bad = |reason: &str| format!("cannot load the code of target {}: {reason}", gpu.target);
        let size = gpu.object.len();
        for end in [0, 1, 63, 64, 100, size / 2, size - 1] {
            let error = with_object(&gpu.object[..end]);
            assert!(error.starts_with(&bad("code object 0: it is ")), "{end}: {error}");
        }
        let error = with_object(b"no code object at all, but long enough for the header of an ELF file ....");
        assert!(error.starts_with(&bad("code object 0: it is no ELF file")), "{error}");
        // Another machine's code.
        let error = with_object(KERNELS);
        let refused = bad(&format!("code object 0: {} does not take it: ", gpu.device));
        assert!(error.starts_with(&refused), "{error}");
        let mut build = gpu.add_program();
        build.target.kernels[0].symbol = "missing".into();
        assert_eq!(refusal(gpu, build), bad("kernel `missing` is not in its code object"));
        let mut build = gpu.add_program();
        build.target.kernels[0].symbol = "a\0b".into();
        assert_eq!(refusal(gpu, build), bad("kernel `a\0b` is not in its code object"));
    });
}

#[test]
fn the_sanitizer_watches_kernels() {
    if std::env::var_os("SARDONYX_DEVICE").is_some() || !hip_double::is_sanitized() {
        return;
    }
    let name = "the_sanitizer_watches_kernels";
    let text = hip_double::crash_over_double(name, Gpu::over_double, |gpu| {
        let mut build = gpu.build();
        let x = build.input("x", DType::F32, "n");
        let y = build.output("y", DType::F32, "n");
        build.step(gpu_launch("write_behind", &[x, y], "n", "1"));
        let _ = gpu.session(build).run([("x", floats(&[5], |_| 0.0))]);
    });
    assert!(text.is_none_or(|text| text.contains("heap-buffer-overflow")));
}

#[test]
fn wrong_use_is_noticed() {
    with_settings("wrong_use_is_noticed", "", |gpu, double| {
        // The manifest promises one parameter fewer than the kernel has.
        let mut build = gpu.build();
        let x = build.input("x", DType::F32, "4");
        let y = build.output("y", DType::F32, "4");
        build.target.kernels[0].dims = 0;
        build.step(gpu_launch("add", &[x, x, y], "", "1"));
        let mut session = gpu.session(build);
        let error = session.run([("x", floats(&[4], |_| 0.0))]).unwrap_err().to_string();
        assert!(error.contains("invalid argument (hipErrorInvalidValue, 1)"), "{error}");
        assert_eq!(double.problems(), "add takes 4 arguments, not 24 bytes\n");
    });
}

#[test]
fn sessions_and_buffers_move() {
    fn moved<T: Send>() {}
    fn shared<T: Send + Sync>() {}
    shared::<Program>();
    moved::<Session>();
    moved::<DeviceBuffer>();
}
