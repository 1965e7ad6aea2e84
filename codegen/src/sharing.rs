//! Weights of a program's targets: every tensor is in the file once.
//!
//! A processor wants constants in panels. In a file for one target the panels stand in their place. Where another target
//! has the same tensor in another order, the file has that, and says how the runtime makes panels of it.
use crate::lower::Lowered;
use crate::plan::Plan;
use crate::target::Target;
use crate::weight::{Packed, Part, Weight, same_tensor};
use sardonyx_runtime::ProgramBuilder;
use sardonyx_runtime::manifest::{self, Place, TargetProgram};
use sardonyx_tensor::DType;

/// Panels of fewer bytes are in the file: saying how to make them takes as many.
const SMALL: usize = 16 << 10;

/// The weights that targets use.
pub(crate) struct Sharing<'a> {
    /// Those of each target, and whether it is a processor.
    targets: Vec<(bool, Vec<&'a (String, Weight)>)>,
    /// Panels that are in the file, and which weight each is.
    stored: Vec<(&'a Packed, usize)>,
}

impl<'a> Sharing<'a> {
    /// The weights of lowered graphs that their plans use.
    pub fn new<'p>(targets: impl Iterator<Item = (&'a (Target, Lowered), &'p Plan)>) -> Sharing<'a> {
        let used = |((target, lowered), plan): (&'a (Target, Lowered), &'p Plan)| {
            (target.cpu().is_some(), plan.weights.iter().map(|&w| &lowered.weights[w]).collect())
        };
        Sharing { targets: targets.map(used).collect(), stored: Vec::new() }
    }

    /// Puts the weights of a target into the file, and says in its program where they are.
    pub fn place(&mut self, target: usize, program: &mut TargetProgram, builder: &mut ProgramBuilder<'a>) {
        let used = self.targets[target].1.clone();
        let place = |(name, weight): &'a (String, Weight)| match weight {
            Weight::Tensor(tensor) => Place::Weight(builder.tensor(name, tensor)),
            Weight::Packed(packed) => match self.elsewhere(target, name, packed, builder) {
                None => Place::Weight(self.store(name, packed, builder)),
                Some((weight, parts)) => {
                    program.packed.push(description(packed.dtype, weight, &parts, builder));
                    Place::Packed(program.packed.len() - 1)
                }
            },
        };
        let places: Vec<Place> = used.into_iter().map(place).collect();
        for buffer in &mut program.buffers {
            if let Place::Weight(w) = buffer.place {
                buffer.place = places[w].clone();
            }
        }
    }

    /// The weight that the panels of a target can be made of when they are needed, because the file has it for other
    /// targets, and how.
    fn elsewhere(
        &mut self,
        target: usize,
        name: &str,
        packed: &'a Packed,
        builder: &mut ProgramBuilder<'a>,
    ) -> Option<(usize, Vec<Part>)> {
        let is_cpu = self.targets[target].0;
        if !is_cpu || packed.elements() * packed.dtype.size() < SMALL {
            return None;
        }
        let others = self.targets.iter().enumerate().filter(|(k, _)| *k != target);
        let others: Vec<(bool, &Weight)> =
            others.flat_map(|(_, (cpu, all))| all.iter().map(|(_, weight)| (*cpu, weight))).collect();
        let tensors = |(_, weight): &(bool, &'a Weight)| match weight {
            Weight::Tensor(tensor) if same_tensor(tensor, &packed.source) => Some(tensor),
            _ => None,
        };
        if let Some(tensor) = others.iter().find_map(tensors) {
            return Some((builder.tensor(name, tensor), packed.parts.clone()));
        }
        let alike = others.into_iter().filter_map(|(cpu, weight)| match weight {
            Weight::Packed(other) if packed.shares_source(other) => Some((cpu, other)),
            _ => None,
        });
        let alike: Vec<(bool, &'a Packed)> = alike.collect();
        // What a GPU has is in the file.
        let of_gpu =
            |(cpu, other): &(bool, &'a Packed)| Some((*other, packed.out_of(other).filter(|_| !cpu)?));
        if let Some((other, parts)) = alike.iter().find_map(of_gpu) {
            return Some((self.store(name, other, builder), parts));
        }
        let differs = alike.iter().any(|(cpu, other)| *cpu && *other != packed);
        differs.then(|| (builder.tensor(name, &packed.source), packed.parts.clone()))
    }

    /// The weight that these panels are in the file.
    fn store(&mut self, name: &str, packed: &'a Packed, builder: &mut ProgramBuilder<'a>) -> usize {
        if let Some((_, weight)) = self.stored.iter().find(|(other, _)| *other == packed) {
            return *weight;
        }
        let weight = builder.made_weight(name, packed.dtype, &[packed.elements()], move || packed.tensor());
        self.stored.push((packed, weight));
        weight
    }
}

/// How to make panels of a weight, for the file.
fn description(
    dtype: DType,
    weight: usize,
    parts: &[Part],
    builder: &mut ProgramBuilder<'_>,
) -> manifest::Packed {
    let mut list = |places: &[i64]| {
        let bytes = places.iter().flat_map(|place| place.to_le_bytes()).collect();
        builder.owned_weight("places", DType::I64, &[places.len()], bytes)
    };
    let matrix = |part: &Part| manifest::PackedMatrix {
        place: part.place,
        depth: list(&part.depth),
        columns: list(&part.columns),
        width: part.width,
        beside: part.beside,
    };
    manifest::Packed { weight, dtype, matrices: parts.iter().map(matrix).collect() }
}
