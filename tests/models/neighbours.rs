//! Models whose weights differ from a model's in their last bits: how far their results lie apart says how
//! much a network makes of the rounding of sums. One that quantizes what it computes makes whole steps of it.
use onnx_protobuf::ModelProto;
use protobuf::Message;
use sardonyx::ort::Ort;
use std::path::Path;

/// How many neighbours are taken.
const COUNT: u32 = 3;
/// `TensorProto.DataType.FLOAT`.
const FLOAT: i32 = 1;

/// The neighbours of a model, for one thread each.
pub fn open(path: &Path) -> Result<Vec<Ort>, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let model = ModelProto::parse_from_bytes(&bytes).map_err(|e| e.to_string())?;
    let open = |seed| {
        let bytes = neighbour(model.clone(), seed).write_to_bytes().map_err(|e| e.to_string())?;
        Ort::from_bytes(&bytes).map_err(|e| e.to_string())
    };
    (1..=COUNT).map(open).collect()
}

/// The model with the last bit of some of its f32 weights turned over.
fn neighbour(mut model: ModelProto, seed: u32) -> ModelProto {
    let mut state = seed;
    let mut turns = || {
        // Numerical Recipes' linear congruential generator; the high bits are the random ones.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 31 == 1
    };
    let Some(graph) = model.graph.as_mut() else { return model };
    for weight in graph.initializer.iter_mut().filter(|weight| weight.data_type == FLOAT) {
        for value in &mut weight.float_data {
            *value = f32::from_bits(value.to_bits() ^ u32::from(turns()));
        }
        weight.raw_data.iter_mut().step_by(4).for_each(|byte| *byte ^= u8::from(turns()));
    }
    model
}
