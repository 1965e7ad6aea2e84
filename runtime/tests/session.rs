//! Running programs: symbolic sizes, errors of inputs, control flow, sizes that the data decides.

#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use sardonyx_runtime::manifest::*;
use sardonyx_runtime::tensor::{DType, Dim, Tensor};
use sardonyx_runtime::{Device, Error, Input, Output, Program, Session};

fn session(build: Build) -> Session {
    build.program().session(Device::cpu().threads(2)).unwrap()
}

fn run_one(build: Build, inputs: &[(&str, Tensor)]) -> Tensor {
    session(build).run(inputs.iter().cloned()).unwrap()[0].clone()
}

/// The text of the error of a run.
fn failure(build: Build, inputs: &[(&str, Tensor)]) -> String {
    session(build).run(inputs.iter().cloned()).unwrap_err().to_string()
}

#[test]
fn one_program_runs_at_any_size() {
    let mut session = session(add_program());
    for rows in [1, 3, 1000, 0, 3] {
        let (x, y) = (floats(&[rows, 4], |i| i as f32), floats(&[rows, 4], |_| 1.0));
        let outputs = session.run([("y", y), ("x", x)]).unwrap();
        let expected = floats(&[rows, 4], |i| (i as f32 + 1.0) * (1 << (i % 8)) as f32);
        assert_eq!(outputs, [expected]);
    }
}

#[test]
fn outputs_that_are_kept_stay() {
    let mut session = session(add_program());
    let run = |session: &mut Session, value: f32| {
        let x = floats(&[1, 4], |_| value);
        session.run([("x", x.clone()), ("y", x)]).unwrap()[0].clone()
    };
    let (first, second) = (run(&mut session, 1.0), run(&mut session, 2.0));
    assert_eq!(first.to_f64s(), [2.0, 4.0, 8.0, 16.0]);
    assert_eq!(second.to_f64s(), [4.0, 8.0, 16.0, 32.0]);
}

#[test]
fn caller_memory_is_used_without_copies() {
    let mut session = session(add_program());
    let (x, y) = (floats(&[2, 4], |i| i as f32), floats(&[2, 4], |_| 0.0));
    let input = |name, tensor: &Tensor| -> (String, Tensor) { (name, tensor.clone()) };
    let given = [input("x".to_string(), &x), input("y".to_string(), &y)];
    let inputs: Vec<Input> = given
        .iter()
        .map(|(name, t)| Input { name, dtype: t.dtype(), shape: t.shape(), bytes: t.bytes() })
        .collect();
    let mut z = floats(&[2, 4], |_| -1.0);
    session.run_into(&inputs, &mut [Output { name: "z", bytes: z.bytes_mut() }]).unwrap();
    assert_eq!(z.to_f64s(), [0.0, 2.0, 8.0, 24.0, 64.0, 160.0, 384.0, 896.0]);
    session.run_into(&inputs, &mut []).unwrap();
    assert_eq!(session.outputs()[0], z);

    let mut short = [0; 31];
    let error = session.run_into(&inputs, &mut [Output { name: "z", bytes: &mut short }]).unwrap_err();
    assert_eq!(error.to_string(), "the buffer of `z` has 31 bytes, not 32");
    let error = session.run_into(&inputs, &mut [Output { name: "w", bytes: &mut short }]).unwrap_err();
    assert_eq!(error.to_string(), "the buffer of `w` is of no output");
    let unaligned = Input { bytes: &x.bytes()[1..17], shape: &[1, 4], ..inputs[0] };
    let error = session.run_into(&[unaligned, inputs[1]], &mut []).unwrap_err();
    assert_eq!(error.to_string(), "the buffer of `x` is not aligned to 4 bytes, the size of its elements");
}

#[test]
fn unaligned_tensors_are_copied() {
    let bytes: Vec<u8> =
        [0u8; 3].into_iter().chain(floats(&[1, 4], |_| 1.0).bytes().iter().copied()).collect();
    let x = Tensor::mapped(std::sync::Arc::new(bytes), 3..19, DType::F32, [1, 4]).unwrap();
    let z = run_one(add_program(), &[("x", x.clone()), ("y", x)]);
    assert_eq!(z.to_f64s(), [2.0, 4.0, 8.0, 16.0]);
}

#[test]
fn wrong_inputs_are_named() {
    let x = |rows: usize| ("x", floats(&[rows, 4], |_| 0.0));
    let y = |rows: usize| ("y", floats(&[rows, 4], |_| 0.0));
    let fails = |inputs: &[(&str, Tensor)]| failure(add_program(), inputs);
    assert_eq!(fails(&[x(1)]), "input `y` is not given");
    assert_eq!(fails(&[x(1), x(1), y(1)]), "input `x` is given twice");
    assert_eq!(fails(&[("w", floats(&[1], |_| 0.0))]), "no input `w`; the inputs are `x`, `y`");
    assert_eq!(fails(&[x(2), y(3)]), "dim `b` is 2 in input `x` but 3 in input `y`");
    let shape = ("y", floats(&[2, 5], |_| 0.0));
    assert_eq!(fails(&[x(2), shape]), "input `y` should have the shape [b, 4], not [2, 5]");
    let rank = ("y", floats(&[8], |_| 0.0));
    assert_eq!(fails(&[x(2), rank]), "input `y` should have the shape [b, 4], not [8]");
    let dtype = ("y", Tensor::zeros(DType::F64, [2, 4]));
    assert_eq!(fails(&[x(2), dtype]), "input `y` should be f32, not f64");
}

#[test]
fn expressions_and_constraints_are_checked() {
    let program = || {
        let mut build = Build::new();
        let x = build.input("x", DType::F32, "b");
        let _y = build.input("y", DType::F32, "c");
        let _w = build.input("w", DType::F32, "b*2 + 1");
        let z = build.output("z", DType::F32, "b");
        build.launch("times_table", &[x, z], "", "b");
        build.builder.manifest.constraints.push(Constraint {
            left: dim("b"),
            right: dim("c"),
            place: "node \"/Add\"".into(),
        });
        build
    };
    let inputs = |b: usize, c: usize, w: usize| {
        [("x", floats(&[b], |_| 1.0)), ("y", floats(&[c], |_| 1.0)), ("w", floats(&[w], |_| 1.0))]
    };
    assert_eq!(run_one(program(), &inputs(2, 2, 5)).to_f64s(), [1.0, 2.0]);
    assert_eq!(
        failure(program(), &inputs(2, 2, 4)),
        "input `w` should have the shape [b*2 + 1] (`b*2 + 1` is 5 here), not [4]"
    );
    assert_eq!(
        failure(program(), &inputs(2, 3, 5)),
        "`b` is 2 but `c` is 3; they should be equal at node \"/Add\""
    );
}

#[test]
fn kernels_use_weights_parts_scratch_and_the_runtime() {
    let mut build = Build::new();
    let x = build.input("x", DType::F32, "2,s");
    let weight = build.weight("w", &floats(&[2], |i| 10.0 * (i + 1) as f32));
    let sums = build.workspace(DType::F32, "2");
    let second = build.buffer(DType::F32, "1", Place::Alias { of: sums, offset: dim("4") });
    let y = build.output("y", DType::F32, "2");
    let z = build.output("z", DType::F32, "1");
    let w = build.output("w", DType::F32, "2");
    build.launch("row_sum", &[x, sums], "s", "2");
    build.launch("add", &[sums, weight, y], "", "2");
    build.launch("call_pointer", &[second, z], "2", "1");
    build.launch("remainder", &[y, w], "", "2");
    let mut session = session(build);
    for s in [3usize, 1000] {
        let outputs = session.run([("x", floats(&[2, s], |i| (i / s) as f32 + 1.0))]).unwrap();
        let (a, b) = (s as f64 + 10.0, 2.0 * s as f64 + 20.0);
        assert_eq!(outputs[0].to_f64s(), [a, b]);
        assert_eq!(outputs[1].to_f64s(), [-2.0 * s as f64]);
        assert_eq!(outputs[2].to_f64s(), [a % 3.0, b % 3.0]);
    }
}

#[test]
fn many_threads_share_a_launch() {
    let program = add_program().program();
    std::thread::scope(|scope| {
        for threads in [1, 2, 3, 8] {
            let program = &program;
            scope.spawn(move || {
                let mut session = program.session(Device::cpu().threads(threads)).unwrap();
                for round in 0..200 {
                    let rows = 1 + (round * 977) % 30_000;
                    let x = floats(&[rows, 4], |i| (i % 100) as f32);
                    let outputs = session.run([("x", x.clone()), ("y", x)]).unwrap();
                    let right = |(i, &z): (usize, &f32)| z == (2 * (i % 100) * (1 << (i % 8))) as f32;
                    let z = outputs[0].as_slice::<f32>().unwrap();
                    assert_eq!(z.len(), rows * 4);
                    assert!(z.iter().enumerate().all(right), "{threads} threads, {rows} rows");
                }
            });
        }
    });
}

#[test]
fn if_runs_one_branch() {
    let mut build = Build::new();
    let condition = build.input("condition", DType::Bool, "");
    let x = build.input("x", DType::F32, "n");
    let y = build.output("y", DType::F32, "n");
    build.step(Step::If {
        condition,
        then: vec![launch("call_pointer", &[x, y], "0", "n"), launch("add", &[y, x, y], "", "n")],
        otherwise: vec![launch("call_pointer", &[x, y], "2", "n")],
    });
    build.launch("add", &[y, x, y], "", "n");
    let mut session = session(build);
    for (condition, factor) in [(true, 4.0), (false, 0.0)] {
        let x = floats(&[5], |i| i as f32);
        let outputs = session.run([("condition", Tensor::scalar(condition)), ("x", x.clone())]).unwrap();
        assert_eq!(outputs[0], floats(&[5], |i| i as f32 * factor));
    }
}

#[test]
fn the_data_decides_a_size() {
    let mut build = Build::new();
    let x = build.input("x", DType::F32, "n");
    let count = build.workspace(DType::I64, "");
    let taken = build.late(DType::F32, "u0");
    let y = build.output("y", DType::F32, "u0");
    build.launch("count_positive", &[x, count], "n", "1");
    build.step(Step::Bind { buffer: count, symbols: vec!["u0".into()] });
    build.launch("take_positive", &[x, taken], "n", "1");
    build.launch("times_table", &[taken, y], "", "u0");
    let mut session = session(build);
    for values in [vec![1.0f32, -1.0, 3.0], vec![-1.0], vec![2.0; 100], vec![5.0, 6.0]] {
        let x = Tensor::from_slice([values.len()], &values);
        let outputs = session.run([("x", x)]).unwrap();
        let kept = values.iter().filter(|&&value| value > 0.0);
        let expected: Vec<f32> = kept.enumerate().map(|(i, v)| v * (1 << (i % 8)) as f32).collect();
        assert_eq!(outputs, [Tensor::from_slice([expected.len()], &expected)]);
    }
}

/// `while x < limit && i < trips { x = x + i; ys += [x] }`, with `x` printed by row.
fn loop_program(reverse: bool) -> Build {
    let mut build = Build::new();
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
    build.launch("less", &[state, limit, condition], "", "1");
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
            launch("add_iteration", &[state, iteration, next], "", "2"),
            launch("less", &[next, limit, next_condition], "", "1"),
        ],
        ..Loop::default()
    })));
    build.step(Step::Copy { src: state, dst: last });
    build
}

#[test]
fn loops_carry_and_collect() {
    for reverse in [false, true] {
        let mut session = session(loop_program(reverse));
        for (limit, trips) in [(1e9f32, 4i64), (5.0, 100), (-1.0, 100), (1e9, 0), (1e9, -7), (1e9, 300)] {
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
}

#[test]
fn scans_take_slices() {
    for reverse in [false, true] {
        let mut build = Build::new();
        let xs = build.input("xs", DType::F32, "t,3");
        let slice = build.workspace(DType::F32, "3");
        let sum = build.workspace(DType::F32, "3");
        let zero = build.weight("zero", &floats(&[3], |_| 0.0));
        let sums = build.output("sums", DType::F32, "t,3");
        build.step(Step::Copy { src: zero, dst: sum });
        build.step(Step::Loop(Box::new(Loop {
            trip: Some(Trip::Dim(Dim::symbol("t"))),
            scan_inputs: vec![Scan { whole: xs, slice, reverse }],
            scan_outputs: vec![Scan { whole: sums, slice: sum, reverse }],
            body: vec![launch("add", &[slice, sum, sum], "", "3")],
            ..Loop::default()
        })));
        let mut session = session(build);
        for steps in [4usize, 1, 0] {
            let outputs = session.run([("xs", floats(&[steps, 3], |i| i as f32))]).unwrap();
            let expected = floats(&[steps, 3], |i| {
                let (t, lane) = (i / 3, i % 3);
                let taken: Vec<usize> = if reverse { (t..steps).collect() } else { (0..=t).collect() };
                taken.iter().map(|&t| (t * 3 + lane) as f32).sum()
            });
            assert_eq!(outputs[0], expected);
        }
    }
}

#[test]
fn a_carried_value_may_grow() {
    // Each iteration carries twice as many elements: the first half are the old ones.
    let mut build = Build::new();
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
            launch("call_pointer", &[state, half], "0", "n"),
        ],
        ..Loop::default()
    })));
    build.step(Step::Copy { src: state, dst: y });
    let mut session = session(build);
    for trips in [0u32, 3, 1, 12] {
        let given = [("x", floats(&[1], |_| 1.0)), ("trips", Tensor::scalar(i64::from(trips)))];
        let outputs = session.run(given).unwrap();
        assert_eq!(outputs[0], floats(&[1 << trips], |i| (1u32 << i.count_ones()) as f32));
    }
}

#[test]
fn host_operations() {
    let mut build = Build::new();
    let x = build.input("x", DType::F32, "a,b");
    let k = build.input("k", DType::I64, "1");
    let indices = build.output("indices", DType::I64, "2,u0");
    let values = build.output("values", DType::F32, "a,u1");
    let places = build.output("places", DType::I64, "a,u1");
    let host = |op: &str, inputs: &[usize], outputs: &[usize], bind: &str| {
        let attrs = serde_json::json!({});
        let (op, binds) = (op.to_string(), vec![bind.to_string()]);
        Step::Host(Host {
            op,
            inputs: inputs.into(),
            outputs: outputs.into(),
            attrs,
            binds,
            origins: vec![0],
        })
    };
    build.step(host("nonzero", &[x], &[indices], "u0"));
    build.step(host("topk", &[x, k], &[values, places], "u1"));
    let mut session = session(build);
    let x = Tensor::from_slice([2, 3], &[0.0f32, 5.0, 1.0, 2.0, 0.0, 3.0]);
    let outputs = session.run([("x", x.clone()), ("k", Tensor::from_slice([1], &[2i64]))]).unwrap();
    assert_eq!(outputs[0], Tensor::from_slice([2, 4], &[0i64, 0, 1, 1, 1, 2, 0, 2]));
    assert_eq!(outputs[1].to_f64s(), [5.0, 1.0, 3.0, 2.0]);
    assert_eq!(outputs[2].to_i64s(), [1, 2, 2, 0]);
    let error = session.run([("x", x), ("k", Tensor::from_slice([1], &[4i64]))]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "step 1 (topk from /layer/Node): k should be at most 3, the size of the axis"
    );
}

#[test]
fn sizes_that_cannot_be_are_errors() {
    let program = |bytes: &str| {
        let mut build = Build::new();
        let x = build.input("x", DType::F32, "n");
        let y = build.output("y", DType::F32, "n");
        build.launch("times_table", &[x, y], "", "n");
        let buffer = build.workspace(DType::U8, "1");
        build.target.buffers[buffer].bytes = dim(bytes);
        build
    };
    let x = [("x", floats(&[3], |_| 0.0))];
    assert!(failure(program("n - 4"), &x).contains("`n - 4` is negative (-1)"));
    assert!(failure(program("n*1152921504606846976"), &x).contains("cannot allocate"));
    assert!(failure(program("n*n*n*n*4611686018427387904"), &x).contains("overflows 64 bits"));
    assert!(failure(program("8 / (n - 3)"), &x).contains("division by zero"));
}

#[test]
fn profiles_name_steps() {
    let mut session = session(add_program());
    assert!(session.profile().is_empty());
    session.set_profiling(true);
    for _ in 0..3 {
        let x = floats(&[2, 4], |_| 1.0);
        session.run([("x", x.clone()), ("y", x)]).unwrap();
    }
    let profile = session.profile();
    let steps: Vec<_> = profile.iter().map(|p| (p.step, p.label.as_str(), p.calls, p.flops)).collect();
    assert_eq!(steps, [(0, "add", 3, 8), (1, "times_table", 3, 8)]);
    assert_eq!(
        (profile[0].origins.as_slice(), profile[0].kernel.as_str()),
        (&["/layer/Node".to_string()][..], "add")
    );
}

#[test]
fn the_self_test_compares_golden_outputs() {
    let program = |factor: f32| -> Program {
        let mut builder = add_program().finish();
        let weight = |builder: &mut sardonyx_runtime::ProgramBuilder<'static>, name: &str, tensor: Tensor| {
            builder.owned_weight(name, tensor.dtype(), tensor.shape(), tensor.bytes().to_vec())
        };
        let ones = floats(&[1, 4], |_| 1.0);
        let x = weight(&mut builder, "golden x", ones.clone());
        let y = weight(&mut builder, "golden y", ones);
        assert_eq!(x, y, "equal weights are one");
        let z = weight(&mut builder, "golden z", floats(&[1, 4], |i| factor * (2 << i) as f32));
        builder.manifest.golden =
            Some(Golden { inputs: vec![x, y], outputs: vec![z], atol: 1e-6, rtol: 1e-4 });
        builder.finish().unwrap()
    };
    program(1.0).session(Device::cpu()).unwrap().self_test().unwrap();
    let error = program(1.01).session(Device::cpu()).unwrap().self_test().unwrap_err().to_string();
    assert!(error.starts_with("self-test: output `z` is 16 at element 3 where 16.1"), "{error}");
    assert!(matches!(session(add_program()).self_test(), Err(Error::NoGolden)));
}

#[test]
fn programs_are_shared_and_sessions_move() {
    fn shared<T: Send + Sync>() {}
    fn moved<T: Send>() {}
    shared::<Program>();
    moved::<Session>();
}

#[test]
fn an_output_may_have_room_to_spare() {
    // The buffer has the size of the worst case, the output as many elements as there are.
    let mut build = Build::new();
    let x = build.input("x", DType::F32, "n");
    let count = build.workspace(DType::I64, "");
    let y = build.output("y", DType::F32, "u0");
    build.target.buffers[y].bytes = dim("n*4");
    build.launch("count_positive", &[x, count], "n", "1");
    build.launch("take_positive", &[x, y], "n", "1");
    build.step(Step::Bind { buffer: count, symbols: vec!["u0".into()] });
    let x = Tensor::from_slice([4], &[1.0f32, -1.0, 2.0, 3.0]);
    assert_eq!(run_one(build, &[("x", x)]), Tensor::from_slice([3], &[1.0f32, 2.0, 3.0]));
}

#[test]
fn the_device_must_fit() {
    let error = |build: Build| build.program().session(Device::cpu()).unwrap_err().to_string();
    let mut other = add_program();
    other.target.name = "hip:gfx942".into();
    assert_eq!(error(other), "the program does not run on cpu: target hip:gfx942 is for another device");
    let mut strange = add_program();
    strange.target.name = "cpu:future".into();
    strange.target.features = vec!["warp-drive".into()];
    assert_eq!(
        error(strange),
        "the program does not run on cpu: target cpu:future needs warp-drive, which this CPU has not"
    );
    let mut renamed = add_program();
    renamed.target.kernels[0].symbol = "missing".into();
    assert_eq!(
        error(renamed),
        "cannot load the code of target cpu: kernel `missing` is not in its code object"
    );
    assert_eq!("cpu".parse::<Device>().unwrap(), Device::cpu());
}
