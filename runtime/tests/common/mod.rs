//! Small programs over the kernels of `kernels.c` and, on GPUs, `kernels.hip`.
// Each test binary uses some of it.
#![allow(dead_code, clippy::unwrap_used)]

use sardonyx_runtime::manifest::*;
use sardonyx_runtime::tensor::{DType, Dim, Tensor};
use sardonyx_runtime::{Program, ProgramBuilder};

/// The object that `kernels.c` compiles to.
pub const KERNELS: &[u8] = include_bytes!("kernels.o");

/// Name, buffer arguments, dimension parameters, scratch memory.
const TABLE: &[(&str, usize, usize, &str)] = &[
    ("add", 3, 0, "0"),
    ("times_table", 2, 0, "0"),
    ("row_sum", 2, 1, "d0*4"),
    ("call_pointer", 2, 1, "0"),
    ("remainder", 2, 0, "0"),
    ("count_positive", 2, 1, "0"),
    ("take_positive", 2, 1, "0"),
    ("less", 3, 0, "0"),
    ("add_iteration", 3, 0, "0"),
];

/// The text of the kernels for GPUs.
pub const GPU_KERNELS: &str = include_str!("kernels.hip");

/// Those of GPUs: name, buffer arguments, dimension parameters, scratch memory, shared memory.
pub const GPU_TABLE: &[(&str, usize, usize, &str, u32)] = &[
    ("add", 3, 1, "0", 0),
    ("times_table", 3, 1, "0", 0),
    ("row_sum", 2, 1, "d0*4", 0),
    ("count_positive", 2, 1, "0", 0),
    ("take_positive", 2, 1, "0", 0),
    ("less", 3, 0, "0", 0),
    ("add_iteration", 3, 1, "0", 0),
    ("through_shared", 2, 1, "0", 65536),
    ("write_behind", 2, 1, "0", 0),
    ("product", 3, 2, "0", 0),
    ("convolve", 5, 6, "0", 0),
];

pub fn dim(text: &str) -> Dim {
    text.parse().unwrap()
}

pub fn dims(text: &str) -> Vec<Dim> {
    text.split(',').filter(|dim| !dim.trim().is_empty()).map(dim).collect()
}

/// A program in the making.
pub struct Build {
    pub builder: ProgramBuilder<'static>,
    pub target: TargetProgram,
}

impl Build {
    pub fn new() -> Build {
        Build::with_code(KERNELS)
    }

    pub fn with_code(object: &[u8]) -> Build {
        let mut builder = ProgramBuilder::new("test 1.0", "model");
        let mut target = TargetProgram { name: "cpu".into(), ..TargetProgram::default() };
        target.code.push(builder.code(object.to_vec()));
        target.origins.push("/layer/Node".into());
        for &(symbol, args, dims, scratch) in TABLE {
            let scratch = dim(scratch);
            target.kernels.push(Kernel {
                symbol: symbol.into(),
                code: 0,
                args,
                dims,
                scratch,
                threads: 0,
                shared: 0,
            });
        }
        Build { builder, target }
    }

    /// A program for a target such as `cuda:sm_90`, over `kernels.hip`.
    pub fn for_gpu(target: &str, object: &[u8]) -> Build {
        let mut build = Build::with_code(object);
        build.target.name = target.into();
        let kernel = |&(symbol, args, dims, scratch, shared): &(&str, usize, usize, &str, u32)| Kernel {
            symbol: symbol.into(),
            code: 0,
            args,
            dims,
            scratch: dim(scratch),
            threads: 64,
            shared,
        };
        build.target.kernels = GPU_TABLE.iter().map(kernel).collect();
        build
    }

    pub fn input(&mut self, name: &str, dtype: DType, shape: &str) -> BufferIndex {
        let manifest = &mut self.builder.manifest;
        for symbol in dims(shape).iter().filter_map(Dim::as_symbol) {
            if !manifest.symbols.iter().any(|known| known == symbol) {
                manifest.symbols.push(symbol.into());
            }
        }
        manifest.inputs.push(Port { name: name.into(), dtype, shape: dims(shape) });
        let place = Place::Input(manifest.inputs.len() - 1);
        self.buffer(dtype, shape, place)
    }

    pub fn output(&mut self, name: &str, dtype: DType, shape: &str) -> BufferIndex {
        self.builder.manifest.outputs.push(Port { name: name.into(), dtype, shape: dims(shape) });
        let place = Place::Output(self.builder.manifest.outputs.len() - 1);
        self.buffer(dtype, shape, place)
    }

    pub fn weight(&mut self, name: &str, tensor: &Tensor) -> BufferIndex {
        let bytes = tensor.bytes().to_vec();
        let weight = self.builder.owned_weight(name, tensor.dtype(), tensor.shape(), bytes);
        let shape: Vec<String> = tensor.shape().iter().map(usize::to_string).collect();
        self.buffer(tensor.dtype(), &shape.join(","), Place::Weight(weight))
    }

    /// A buffer that lives as long as the run.
    pub fn workspace(&mut self, dtype: DType, shape: &str) -> BufferIndex {
        self.buffer(dtype, shape, Place::Workspace { first: 0, last: usize::MAX })
    }

    pub fn late(&mut self, dtype: DType, shape: &str) -> BufferIndex {
        self.buffer(dtype, shape, Place::Late)
    }

    pub fn buffer(&mut self, dtype: DType, shape: &str, place: Place) -> BufferIndex {
        let shape = dims(shape);
        let bytes = Dim::product(&shape) * dtype.size() as i64;
        self.target.buffers.push(Buffer { dtype, shape, bytes, place });
        self.target.buffers.len() - 1
    }

    pub fn step(&mut self, step: Step) {
        self.target.steps.push(step);
    }

    pub fn launch(&mut self, kernel: &str, args: &[BufferIndex], dims: &str, grid: &str) {
        let step = launch(kernel, args, dims, grid);
        self.step(step);
    }

    pub fn finish(mut self) -> ProgramBuilder<'static> {
        let last = count_steps(&self.target.steps).saturating_sub(1);
        for buffer in &mut self.target.buffers {
            if let Place::Workspace { last: end, .. } = &mut buffer.place {
                *end = (*end).min(last);
            }
        }
        self.builder.manifest.targets.push(self.target);
        self.builder
    }

    pub fn program(self) -> Program {
        self.finish().finish().unwrap_or_else(|error| panic!("{error}"))
    }
}

/// A launch on a GPU; `grid` is a number of blocks.
pub fn gpu_launch(kernel: &str, args: &[BufferIndex], dims_text: &str, grid: &str) -> Step {
    launch_row(GPU_TABLE.iter().position(|row| row.0 == kernel), kernel, args, dims_text, grid)
}

pub fn launch(kernel: &str, args: &[BufferIndex], dims_text: &str, grid: &str) -> Step {
    launch_row(TABLE.iter().position(|row| row.0 == kernel), kernel, args, dims_text, grid)
}

fn launch_row(row: Option<usize>, kernel: &str, args: &[BufferIndex], dims_text: &str, grid: &str) -> Step {
    Step::Launch(Launch {
        kernel: row.expect("a kernel of the table"),
        args: args.to_vec(),
        dims: dims(dims_text),
        grid: dim(grid),
        label: kernel.into(),
        origins: vec![0],
        flops: dim(grid),
        bytes: Dim::ZERO,
        library: None,
    })
}

/// `z = (x + y) * table`, for `f32[b, 4]`.
pub fn add_program() -> Build {
    let mut build = Build::new();
    let x = build.input("x", DType::F32, "b,4");
    let y = build.input("y", DType::F32, "b,4");
    let sum = build.workspace(DType::F32, "b,4");
    let z = build.output("z", DType::F32, "b,4");
    build.launch("add", &[x, y, sum], "", "b*4");
    build.launch("times_table", &[sum, z], "", "b*4");
    build
}

pub fn floats(shape: &[usize], value: impl Fn(usize) -> f32) -> Tensor {
    let values: Vec<f32> = (0..shape.iter().product()).map(value).collect();
    Tensor::from_slice(shape, &values)
}
