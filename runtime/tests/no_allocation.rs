//! Steady-state runs allocate nothing.

#![allow(clippy::unwrap_used)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::*;
use sardonyx_runtime::manifest::*;
use sardonyx_runtime::tensor::{DType, Tensor};
use sardonyx_runtime::{Device, Input, Output};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

#[allow(unsafe_code)]
// SAFETY: every call goes to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many allocations `f` makes.
fn allocations(mut f: impl FnMut()) -> usize {
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    f();
    ALLOCATIONS.load(Ordering::SeqCst) - before
}

/// Kernels, a size that the data decides, a loop, and a condition.
fn program() -> Build {
    let mut build = add_program();
    let (x, z) = (0, 3);
    let count = build.workspace(DType::I64, "");
    let taken = build.late(DType::F32, "u0");
    let condition = build.workspace(DType::Bool, "");
    build.launch("count_positive", &[x, count], "b*4", "1");
    build.step(Step::Bind { buffer: count, symbols: vec!["u0".into()] });
    build.launch("take_positive", &[x, taken], "b*4", "1");
    build.launch("less", &[x, z, condition], "", "1");
    build.step(Step::Loop(Box::new(Loop {
        trip: Some(Trip::Buffer(count)),
        body: vec![Step::If {
            condition,
            then: vec![launch("add", &[z, z, z], "", "b*4")],
            otherwise: vec![],
        }],
        ..Loop::default()
    })));
    build
}

// One test: a second one would allocate meanwhile.
#[test]
fn steady_state_runs_allocate_nothing() {
    let mut session = program().program().session(Device::cpu().threads(2)).unwrap();
    session.set_profiling(true);
    let tensors: Vec<Tensor> = [3usize, 50].iter().map(|&b| floats(&[b, 4], |i| i as f32)).collect();
    // Both sizes are seen once; then they take turns.
    for x in &tensors {
        session.run([("x", x.clone()), ("y", x.clone())]).unwrap();
    }
    // Threads of the pool allocate as they start, which may be late.
    std::thread::sleep(std::time::Duration::from_millis(200));
    for _ in 0..3 {
        let x = &tensors[1];
        // Cloning a tensor copies its shape, so that is done outside.
        let mut given = Some([("x", x.clone()), ("y", x.clone())]);
        let count = allocations(|| {
            session.run(given.take().expect("one run")).unwrap();
        });
        assert_eq!(count, 0, "run");
        let mut z = vec![0u8; 3 * 16];
        let count = allocations(|| {
            let x = &tensors[0];
            let input = |name| Input { name, dtype: DType::F32, shape: x.shape(), bytes: x.bytes() };
            let outputs = &mut [Output { name: "z", bytes: &mut z }];
            session.run_into(&[input("x"), input("y")], outputs).unwrap();
        });
        assert_eq!(count, 0, "run_into");
    }
}
