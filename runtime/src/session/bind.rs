//! Binding symbols: the shapes of the inputs give them values, and are checked against each other.

use sardonyx_tensor::{DType, Dim, Tensor};

use super::{DeviceInput, Input, misaligned, wrong_size};
use crate::error::{Error, Result};
use crate::gpu::DeviceBuffer;
use crate::manifest::{Constraint, Manifest, Port, TargetProgram, walk};
use crate::program::is_aligned;

/// What a run is given.
pub(super) enum Given<'a> {
    /// One per input, in order.
    Tensors(&'a [Option<Tensor>]),
    /// In any order: in memory of the host, and on the device.
    Borrowed(&'a [Input<'a>], &'a [DeviceInput<'a>]),
}

/// An input, wherever it is.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    pub dtype: DType,
    pub shape: &'a [usize],
    pub data: Data<'a>,
}

/// The elements of an input.
#[derive(Clone, Copy)]
pub(super) enum Data<'a> {
    Host(&'a [u8]),
    Device(&'a DeviceBuffer),
}

impl Data<'_> {
    pub fn size(&self) -> usize {
        match self {
            Data::Host(bytes) => bytes.len(),
            Data::Device(buffer) => buffer.size(),
        }
    }
}

impl<'a> Given<'a> {
    /// The input of this index and name.
    pub fn get(&self, index: usize, name: &str) -> Option<Value<'a>> {
        match self {
            Given::Tensors(tensors) => tensors[index].as_ref().map(|tensor| Value {
                dtype: tensor.dtype(),
                shape: tensor.shape(),
                data: Data::Host(tensor.bytes()),
            }),
            Given::Borrowed(inputs, on_device) => {
                let host = inputs.iter().find(|input| input.name == name).map(|input| Value {
                    dtype: input.dtype,
                    shape: input.shape,
                    data: Data::Host(input.bytes),
                });
                host.or_else(|| {
                    let found = on_device.iter().find(|input| input.name == name)?;
                    let data = Data::Device(found.buffer);
                    Some(Value { dtype: found.dtype, shape: found.shape, data })
                })
            }
        }
    }
}

/// The symbols of a program, with their values during a run.
pub(super) struct Symbols {
    /// Sorted.
    names: Vec<String>,
    values: Vec<Option<i64>>,
    /// Those that inputs give values to.
    inputs: Vec<usize>,
}

impl Symbols {
    pub fn new(manifest: &Manifest, target: &TargetProgram) -> Symbols {
        let mut names = manifest.symbols.clone();
        walk(&target.steps, &mut |_, step| names.extend(step.defines().into_iter().map(String::from)));
        names.sort();
        names.dedup();
        let position =
            |name: &String| names.binary_search(name).expect("input symbols should be in the list");
        let inputs = manifest.symbols.iter().map(position).collect();
        Symbols { values: vec![None; names.len()], names, inputs }
    }

    /// The value of a symbol; `None` before it has one.
    pub fn get(&self, name: &str) -> Option<i64> {
        let at = self.names.binary_search_by(|known| known.as_str().cmp(name)).ok()?;
        self.values[at]
    }

    /// Sets a symbol.
    pub fn set(&mut self, name: &str, value: i64) {
        let at = self.names.binary_search_by(|known| known.as_str().cmp(name));
        self.values[at.expect("symbols should have been collected from all steps")] = Some(value);
    }

    /// The values of the symbols that inputs give values to.
    pub fn input_values(&self) -> Vec<i64> {
        self.inputs.iter().map(|&at| self.values[at].unwrap_or(0)).collect()
    }

    /// Whether these are the values of those symbols.
    pub fn inputs_are(&self, values: &[i64]) -> bool {
        self.inputs.iter().zip(values).all(|(&at, &value)| self.values[at] == Some(value))
    }

    /// Forgets all values and takes those of the inputs, whose types and shapes it checks.
    pub fn bind(&mut self, ports: &[Port], given: &Given) -> Result<()> {
        self.values.fill(None);
        for (index, port) in ports.iter().enumerate() {
            let input = given.get(index, &port.name).ok_or_else(|| Error::MissingInput(port.name.clone()))?;
            check_type(port, &input)?;
            for (dim, &size) in port.shape.iter().zip(input.shape) {
                let size = i64::try_from(size).unwrap_or(i64::MAX);
                match (dim.known(), dim.as_symbol()) {
                    (Some(known), _) if known != size => return Err(wrong_shape(port, &input)),
                    (None, Some(symbol)) => match self.get(symbol) {
                        None => self.set(symbol, size),
                        Some(first) if first != size => {
                            return Err(conflict(symbol, first, size, ports, port));
                        }
                        Some(_) => {}
                    },
                    _ => {}
                }
            }
        }
        for (index, port) in ports.iter().enumerate() {
            let Some(input) = given.get(index, &port.name) else { continue };
            for (dim, &size) in port.shape.iter().zip(input.shape) {
                if dim.is_known() || dim.as_symbol().is_some() {
                    continue;
                }
                if dim.eval_with(&|name| self.get(name)).ok() != i64::try_from(size).ok() {
                    return Err(wrong_expression(port, &input, dim, self));
                }
            }
        }
        Ok(())
    }
}

fn check_type(port: &Port, input: &Value) -> Result<()> {
    if input.dtype != port.dtype {
        let name = port.name.clone();
        return Err(Error::InputDType { name, expected: port.dtype, given: input.dtype });
    }
    if input.shape.len() != port.shape.len() {
        return Err(wrong_shape(port, input));
    }
    let size = input.shape.iter().try_fold(input.dtype.size(), |size, &dim| size.checked_mul(dim));
    let size = if input.shape.contains(&0) { Some(0) } else { size };
    if size != Some(input.data.size()) {
        return Err(wrong_size(&port.name, input.data.size(), size.unwrap_or(usize::MAX)));
    }
    let align = input.dtype.size();
    if let Data::Host(bytes) = input.data
        && !is_aligned(bytes, align)
    {
        return Err(Error::Buffer { name: port.name.clone(), reason: misaligned(align) });
    }
    Ok(())
}

fn shape_text(port: &Port) -> String {
    let dims: Vec<String> = port.shape.iter().map(Dim::to_string).collect();
    format!("[{}]", dims.join(", "))
}

fn wrong_shape(port: &Port, input: &Value) -> Error {
    Error::InputShape { name: port.name.clone(), expected: shape_text(port), given: input.shape.to_vec() }
}

fn wrong_expression(port: &Port, input: &Value, dim: &Dim, symbols: &Symbols) -> Error {
    let value = match dim.eval_with(&|name| symbols.get(name)) {
        Ok(value) => value.to_string(),
        Err(error) => error.to_string(),
    };
    let expected = format!("{} (`{dim}` is {value} here)", shape_text(port));
    Error::InputShape { name: port.name.clone(), expected, given: input.shape.to_vec() }
}

fn conflict(symbol: &str, first: i64, second: i64, ports: &[Port], port: &Port) -> Error {
    let gives = |port: &&Port| port.shape.iter().any(|dim| dim.as_symbol() == Some(symbol));
    let first_input = ports.iter().find(gives).map_or_else(String::new, |port| port.name.clone());
    Error::SymbolConflict {
        symbol: symbol.into(),
        first,
        first_input,
        second,
        second_input: port.name.clone(),
    }
}

/// Checks what the model needs to hold between symbols.
pub(super) fn check_constraints(manifest: &Manifest, symbols: &Symbols) -> Result<()> {
    manifest.constraints.iter().try_for_each(|constraint| check_constraint(constraint, symbols))
}

/// Two sizes are equal.
pub(super) fn check_constraint(constraint: &Constraint, symbols: &Symbols) -> Result<()> {
    let value = |dim: &Dim| {
        let what = || format!("`{dim}`, needed at {}", constraint.place);
        dim.eval_with(&|name| symbols.get(name)).map_err(|source| Error::Size { what: what(), source })
    };
    let (left_value, right_value) = (value(&constraint.left)?, value(&constraint.right)?);
    if left_value == right_value {
        return Ok(());
    }
    Err(Error::Constraint {
        left: constraint.left.to_string(),
        left_value,
        right: constraint.right.to_string(),
        right_value,
        place: constraint.place.clone(),
    })
}
