//! What templates print of dimensions, accesses and scalar functions.
use crate::emit::hip;
use crate::kernel::contract::{Access, Epilogue};
use crate::nest::{Builder, register_dtype};
use sardonyx_tensor::{DType, Dim};
use std::fmt::Write;

/// The run-time dimensions that a text uses, in the order of the kernel's parameters.
#[derive(Default)]
pub(super) struct Dims(pub Vec<Dim>);

impl Dims {
    /// A dimension in C++: its number, or the parameter that holds it.
    pub fn print(&mut self, dim: &Dim) -> String {
        if let Some(known) = dim.known() {
            return format!("{known}LL");
        }
        let at = self.0.iter().position(|d| d == dim).unwrap_or_else(|| {
            self.0.push(dim.clone());
            self.0.len() - 1
        });
        format!("d{at}")
    }

    /// The place of an element, for indices in C++.
    pub fn place(&mut self, access: &Access, indices: &[String]) -> String {
        let mut text = format!("({}", self.print(&access.offset));
        for (stride, index) in access.strides.iter().zip(indices) {
            if *stride != Dim::ZERO {
                let _ = write!(text, " + {index} * {}", self.print(stride));
            }
        }
        text + ")"
    }

    /// The indices of a batch of these sizes, of its number `z` in C++.
    pub fn batch(&mut self, sizes: &[Dim], z: &str) -> Vec<String> {
        let mut indices = vec![];
        for (at, size) in sizes.iter().enumerate() {
            let inner = Dim::product(&sizes[at + 1..]);
            let (inner, size) = (self.print(&inner), self.print(size));
            indices.push(format!("(({z}) / {inner} % {size})"));
        }
        indices
    }
}

/// The name of an element type that matrix units multiply or an epilogue loads or stores.
pub(super) fn element(dtype: DType) -> Option<&'static str> {
    match dtype {
        DType::F16 => Some("F16"),
        DType::BF16 => Some("Bf16"),
        DType::F32 => Some("float"),
        _ => None,
    }
}

/// The types of the buffer parameters, of which `out` is the last; `None` where two accesses of a buffer disagree
/// or a number is left out.
pub(super) fn parameters(inputs: &[&Access], out: &Access) -> Option<Vec<String>> {
    let mut types = vec![None; out.arg + 1];
    for access in inputs {
        let slot = types.get_mut(access.arg)?;
        let ty = format!("const {}* ", loaded(access.dtype)?);
        if slot.as_ref().is_some_and(|other| *other != ty) {
            return None;
        }
        *slot = Some(ty);
    }
    types[out.arg] = Some(format!("{}* ", element(out.dtype)?));
    types.into_iter().collect()
}

/// What a text says of its parameters, and its function `store_packet` behind the macro `NAME_EPILOGUE`.
pub(super) fn signature(
    name: &str,
    buffers: &[String],
    dims: &Dims,
    indices: &str,
    statements: &str,
) -> String {
    let declared = buffers.iter().enumerate().map(|(i, p)| format!("{p}p{i}"));
    let declared: Vec<String> = declared.chain((0..dims.0.len()).map(|i| format!("i64_t d{i}"))).collect();
    let passed =
        (0..buffers.len()).map(|i| format!("p{i}")).chain((0..dims.0.len()).map(|i| format!("d{i}")));
    let (declared, passed) = (declared.join(", "), passed.collect::<Vec<_>>().join(", "));
    let own = indices.replace("i64_t ", "");
    format!(
        "#define {name}_PARAMETERS {declared}\n\
         INLINE void store_packet({declared}, {indices}, const float* from, int apart) {{\n{statements}}}\n\
         #define {name}_EPILOGUE({own}, from, apart) store_packet({passed}, {own}, from, apart)\n"
    )
}

/// How an epilogue's results leave: some neighbours at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Packets {
    /// How many.
    pub count: i64,
    /// Whether they are neighbours in a column.
    pub down: bool,
}

impl Packets {
    /// Of a matrix of `rows` by `columns`, the last two indices of the accesses.
    pub fn of(epilogue: &Epilogue, rows: &Dim, columns: &Dim) -> Packets {
        let rank = epilogue.out.strides.len();
        let down = epilogue.out.strides[rank - 1] != 1 && epilogue.out.strides[rank - 2] == 1;
        let (axis, size) = if down { (rank - 2, rows) } else { (rank - 1, columns) };
        let whole = |v: i64| {
            let fits = |access: &Access| {
                let even = |d: &Dim| d.exact_div(&Dim::from(v)).is_some();
                let outer = access.strides.iter().enumerate().filter(|(k, _)| *k != axis).map(|(_, s)| s);
                v * i64::try_from(access.dtype.size()).unwrap_or(16) <= 16
                    && outer.chain([&access.offset]).all(even)
            };
            let apart = |a: &Access| a.strides[axis] != 1;
            size.exact_div(&Dim::from(v)).is_some()
                && !apart(&epilogue.out)
                && fits(&epilogue.out)
                && epilogue.accesses.iter().all(|a| apart(a) || fits(a))
        };
        Packets { count: [8, 4, 2].into_iter().find(|&v| whole(v)).unwrap_or(1), down }
    }
}

/// An epilogue as a function `store_packet(parameters, indices…, from, apart)` that stores the results of the packet
/// of sums at `from`, `apart` from each other, and the names of its indices, of which the one along the
/// packet is `along`; `None` where its types have no text here. Buffers are called `p0`, `p1`, ….
pub(super) struct Store<'a> {
    /// What is stored.
    pub epilogue: &'a Epilogue,
    /// The indices of the accesses, in terms of the function's own.
    pub indices: &'a [String],
    /// Which of them numbers the results of a packet.
    pub axis: usize,
    /// Results of a packet.
    pub count: i64,
}

impl Store<'_> {
    /// The scalar function `epilogue`, and the statements that store a packet.
    pub fn print(&self, dims: &mut Dims) -> Option<(String, String)> {
        let (function, count) = (self.function()?, self.count);
        let (mut loads, mut values, mut names) = (String::new(), String::new(), vec!["&sum".to_string()]);
        for (k, access) in self.epilogue.accesses.iter().enumerate() {
            let (ty, arg, stride) = (loaded(access.dtype)?, access.arg, &access.strides[self.axis]);
            let place = dims.place(access, self.indices);
            let of = match () {
                () if *stride == Dim::ZERO || count == 1 => {
                    let _ = writeln!(loads, "    const {ty} x{k} = p{arg}[{place}];");
                    format!("x{k}")
                }
                () if *stride == Dim::ONE => {
                    let _ = writeln!(
                        loads,
                        "    const Elements<{ty}, {count}> x{k} = *(const Elements<{ty}, {count}>*)(p{arg} + {place});"
                    );
                    format!("x{k}.at[l]")
                }
                () => format!("p{arg}[{place} + l * {}]", dims.print(stride)),
            };
            let (held, value) = match access.dtype {
                DType::Bool => ("unsigned char", of),
                _ => ("float", format!("widen({of})")),
            };
            let _ = writeln!(values, "        const {held} a{k} = {value};");
            names.push(format!("&a{k}"));
        }
        let out = &self.epilogue.out;
        let (ty, arg, place) = (element(out.dtype)?, out.arg, dims.place(out, self.indices));
        let names = names.join(", ");
        let text = format!(
            "{loads}    Elements<{ty}, {count}> to;\n#pragma unroll\n    for (int l = 0; l < {count}; ++l) {{\n        \
             const float sum = from[l * apart];\n{values}        float value;\n        \
             epilogue({names}, &value);\n        narrow(value, to.at[l]);\n    }}\n    \
             *(Elements<{ty}, {count}>*)(p{arg} + {place}) = to;\n"
        );
        Some((function, text))
    }

    /// What a text says of the accesses that begin on their way before the sums are known: `NAME_AHEAD` of the
    /// indices, and whether there are any.
    pub fn ahead(&self, name: &str, dims: &mut Dims, indices: &str) -> String {
        let mut text = String::new();
        // One value for each column or row is near all the same.
        let runs = |a: &&Access| {
            a.strides[self.axis] == Dim::ONE && a.strides.iter().filter(|s| **s != Dim::ZERO).count() > 1
        };
        for access in self.epilogue.accesses.iter().filter(runs) {
            let place = dims.place(access, self.indices);
            let _ = write!(text, " prefetch(p{} + {place});", access.arg);
        }
        format!("constexpr bool AHEAD = {};\n#define {name}_AHEAD({indices}){text}\n", !text.is_empty())
    }

    /// The scalar function of a sum and one element of each access.
    fn function(&self) -> Option<String> {
        let b = Builder::new("epilogue");
        let types = std::iter::once(DType::F32).chain(self.epilogue.accesses.iter().map(|a| a.dtype));
        let types: Vec<DType> = types.map(register_dtype).collect();
        let loads: Vec<_> = types.iter().enumerate().map(|(k, &t)| b.input(&format!("in{k}"), t)).collect();
        let out = b.output("out", DType::F32);
        let args: Vec<_> = loads.into_iter().map(|buf| b.load(buf, 0)).collect();
        let value = b.inline(&self.epilogue.f, &args, &types);
        if !self.epilogue.out.dtype.is_float() {
            return None;
        }
        b.store(out, 0, if value.ty().dtype == DType::F32 { value } else { value.cast(DType::F32) });
        let coarse = matches!(self.epilogue.out.dtype, DType::F16 | DType::BF16);
        Some(hip::function(&b.finish(1), coarse))
    }
}

/// The type in memory of an element that an epilogue loads.
fn loaded(dtype: DType) -> Option<&'static str> {
    if dtype == DType::Bool { Some("unsigned char") } else { element(dtype) }
}
