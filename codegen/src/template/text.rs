//! What templates print of dimensions, accesses and scalar functions.
use crate::kernel::contract::{Access, Epilogue};
use sardonyx_ir::scalar::{Node, Prim, Scalar};
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
        let ty = match access.dtype {
            DType::Bool => "const unsigned char* ".into(),
            dtype => format!("const {}* ", element(dtype)?),
        };
        if slot.as_ref().is_some_and(|other| *other != ty) {
            return None;
        }
        *slot = Some(ty);
    }
    types[out.arg] = Some(format!("{}* ", element(out.dtype)?));
    types.into_iter().collect()
}

/// The statements of an epilogue for the sum `sum` of the element at `indices`; `None` where its function or
/// its types have no text here. Buffers are called `p0`, `p1`, …
pub(super) fn epilogue(epilogue: &Epilogue, indices: &[String], dims: &mut Dims) -> Option<String> {
    let mut arguments = vec!["sum".to_string()];
    for access in &epilogue.accesses {
        element(access.dtype)?;
        arguments.push(format!("widen(p{}[{}])", access.arg, dims.place(access, indices)));
    }
    element(epilogue.out.dtype)?;
    let (steps, value) = scalar(&epilogue.f, &arguments)?;
    Some(format!("{steps}narrow({value}, p{}[{}]);", epilogue.out.arg, dims.place(&epilogue.out, indices)))
}

/// A function of f32 arguments as declarations and the name of its value.
fn scalar(f: &Scalar, arguments: &[String]) -> Option<(String, String)> {
    let mut text = String::new();
    for (at, node) in f.nodes.iter().enumerate() {
        let value = match node {
            Node::Arg(i) => arguments.get(*i)?.clone(),
            Node::Num(x) if x.is_finite() => format!("(float){x:e}"),
            Node::Prim(p, args) => {
                let args: Vec<String> = args.iter().map(|a| format!("t{a}")).collect();
                primitive(*p, &args)?
            }
            Node::Cast(DType::F32, a) => format!("t{a}"),
            Node::Cast(to @ (DType::F16 | DType::BF16), a) => format!("rounded<{}>(t{a})", element(*to)?),
            Node::Num(_) | Node::Cast(..) => return None,
        };
        let _ = write!(text, "const float t{at} = {value}; ");
    }
    Some((text, format!("t{}", f.root)))
}

/// A primitive on f32 values; comparisons give 0 or 1.
fn primitive(p: Prim, args: &[String]) -> Option<String> {
    let infix = |op: &str| format!("{} {op} {}", args[0], args[1]);
    // NaN of either operand stays.
    let extreme = |op: &str| {
        let (a, b) = (&args[0], &args[1]);
        format!("{a} {op} {b} || {a} != {a} ? {a} : {b}")
    };
    Some(match p {
        Prim::Add => infix("+"),
        Prim::Sub => infix("-"),
        Prim::Mul => infix("*"),
        Prim::Div => infix("/"),
        Prim::Min => extreme("<"),
        Prim::Max => extreme(">"),
        Prim::Neg => format!("-{}", args[0]),
        Prim::Abs => format!("{0} < 0 ? -{0} : {0} + 0.0f", args[0]),
        Prim::Eq => infix("=="),
        Prim::Lt => infix("<"),
        Prim::Le => infix("<="),
        Prim::Select => format!("{} != 0 ? {} : {}", args[0], args[1], args[2]),
        _ => return None,
    })
}
