//! The inputs of a model: their types, with the dims that the user gives.
use super::proto::tensor_shape_proto::dimension::Value as DimValue;
use super::proto::type_proto::Value as TypeValue;
use super::proto::{GraphProto, TypeProto, ValueInfoProto};
use super::tensor::dtype;
use sardonyx_ir::Type;
use sardonyx_tensor::{DType, Dim};
use std::collections::{BTreeMap, BTreeSet};

/// What the user says about a model's sizes.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// Values of named dimensions.
    pub dims: BTreeMap<String, i64>,
    /// Whole shapes of inputs, by input name. They win over what the model declares, fixed sizes too; a
    /// named dimension of the model gets the size wherever it occurs.
    pub input_shapes: BTreeMap<String, Vec<Dim>>,
}

/// The types of a graph's inputs that are not initializers, in order.
pub(crate) fn types(graph: &GraphProto, options: &ImportOptions) -> Result<Vec<(String, Type)>, String> {
    let constants: BTreeSet<&str> = graph
        .initializer
        .iter()
        .map(|t| t.name.as_str())
        .chain(graph.sparse_initializer.iter().filter_map(|t| Some(t.values.as_ref()?.name.as_str())))
        .collect();
    let infos: Vec<&ValueInfoProto> =
        graph.input.iter().filter(|i| !constants.contains(i.name.as_str())).collect();
    let mut names = Names::new(&infos);
    let mut inputs = Vec::new();
    for info in &infos {
        inputs.push((info.name.clone(), declared(info, &mut names, options)?));
    }
    let known: BTreeSet<&str> = infos.iter().map(|i| i.name.as_str()).collect();
    if let Some(name) = options.input_shapes.keys().find(|n| !known.contains(n.as_str())) {
        let list: Vec<&str> = known.into_iter().collect();
        return Err(format!("the model has no input `{name}`; its inputs are {}", list.join(", ")));
    }
    override_shapes(inputs, options)
}

/// The declared shape of a value, if all its sizes are numbers.
pub(crate) fn known_shape(info: &ValueInfoProto) -> Option<Vec<Dim>> {
    let TypeValue::TensorType(t) = info.ty()? else { return None };
    let size = |d: &super::proto::tensor_shape_proto::Dimension| match d.value {
        Some(DimValue::DimValue(n)) if n >= 0 => Some(Dim::from(n)),
        _ => None,
    };
    t.shape.as_ref()?.dim.iter().map(size).collect()
}

/// Puts the user's shapes and dims in place of the declared ones.
fn override_shapes(
    mut inputs: Vec<(String, Type)>,
    options: &ImportOptions,
) -> Result<Vec<(String, Type)>, String> {
    let mut values: BTreeMap<String, Dim> = BTreeMap::new();
    let symbols: BTreeSet<String> =
        inputs.iter().flat_map(|(_, t)| &t.shape).flat_map(|d| d.symbols()).collect();
    for (name, value) in &options.dims {
        if *value < 0 {
            return Err(format!("the dimension `{name}` cannot be {value}"));
        }
        if !symbols.contains(name) {
            let list: Vec<&str> = symbols.iter().map(String::as_str).collect();
            return Err(format!("the model has no dimension `{name}`; it has: {}", list.join(", ")));
        }
        values.insert(name.clone(), Dim::from(*value));
    }
    for (name, ty) in &mut inputs {
        let Some(given) = options.input_shapes.get(name) else { continue };
        if ty.dtype == DType::List {
            return Err(format!("the input `{name}` is a list: it has no shape"));
        }
        if given.len() != ty.rank() && !ty.shape.is_empty() {
            return Err(format!(
                "the input `{name}` is {ty}: the given shape has {} dimensions",
                given.len()
            ));
        }
        for (declared, given) in ty.shape.iter().zip(given) {
            if let Some(symbol) = declared.as_symbol()
                && let Some(before) = values.insert(symbol.into(), given.clone())
                && before != *given
            {
                return Err(format!(
                    "the dimension `{symbol}` of input `{name}` is both {before} and {given}"
                ));
            }
        }
        ty.shape = given.clone();
    }
    for dim in inputs.iter_mut().flat_map(|(_, t)| &mut t.shape) {
        *dim = dim.substitute(|s| values.get(s).cloned());
    }
    Ok(inputs)
}

/// The type of an input as the model declares it; what it leaves open gets a new symbol.
fn declared(info: &ValueInfoProto, names: &mut Names, options: &ImportOptions) -> Result<Type, String> {
    let name = &info.name;
    let (elem, shape) = match info.ty() {
        Some(TypeValue::TensorType(t)) => (t.elem_type, t.shape.as_ref()),
        Some(TypeValue::SequenceType(_) | TypeValue::OptionalType(_) | TypeValue::MapType(_)) => {
            return Ok(Type::scalar(DType::List));
        }
        Some(TypeValue::SparseTensorType(_)) => return Err(format!("the input `{name}` is sparse")),
        None => return Err(format!("the input `{name}` has no type")),
    };
    let dtype: DType = dtype(elem).map_err(|e| format!("the input `{name}` has {e}"))?;
    let Some(shape) = shape else {
        let given = options.input_shapes.get(name).cloned();
        let hint = || format!("the input `{name}` has no declared shape: give it with --input-shape");
        return Ok(Type { dtype, shape: given.ok_or_else(hint)? });
    };
    let dims = shape.dim.iter().enumerate().map(|(axis, d)| match &d.value {
        Some(DimValue::DimValue(n)) if *n >= 0 => Dim::from(*n),
        Some(DimValue::DimParam(s)) => match s.parse::<i64>() {
            Ok(n) if n >= 0 => Dim::from(n),
            _ if is_name(s) => Dim::symbol(s),
            _ => names.fresh(name, axis),
        },
        _ => names.fresh(name, axis),
    });
    Ok(Type { dtype, shape: dims.collect() })
}

fn is_name(text: &str) -> bool {
    !matches!(text.trim(), "" | "?" | "*" | "None" | "unk") && text.parse::<i64>().is_err()
}

/// The names of dimensions that the model uses.
struct Names(BTreeSet<String>);

impl Names {
    fn new(infos: &[&ValueInfoProto]) -> Names {
        let shapes = infos.iter().filter_map(|i| match i.ty() {
            Some(TypeValue::TensorType(t)) => t.shape.as_ref(),
            _ => None,
        });
        let params = shapes.flat_map(|s| &s.dim).filter_map(|d| match &d.value {
            Some(DimValue::DimParam(s)) => Some(s.clone()),
            _ => None,
        });
        Names(params.collect())
    }
    /// A new symbol for an axis of an input.
    fn fresh(&mut self, input: &str, axis: usize) -> Dim {
        let mut name = format!("{input}_{axis}");
        while !self.0.insert(name.clone()) {
            name.push('_');
        }
        Dim::symbol(&name)
    }
}

impl ValueInfoProto {
    fn ty(&self) -> Option<&TypeValue> {
        self.r#type.as_ref().and_then(|t: &TypeProto| t.value.as_ref())
    }
}
