//! Maps: making them of rows of scores, and reading them. A map is a list of its keys and its values.
use super::super::super::context::{Built, Context};
use super::super::super::error::{Fault, invalid, unsupported};
use super::super::super::kind::Kind;
use super::super::super::scope::Entity;
use super::super::{Import, Row};
use super::{one, texts_or_ints};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim, Tensor};

pub(super) const ROWS: &[Row] = &[
    one("CastMap", cast),
    one("DictVectorizer", vectorizer),
    Row { domain: "ai.onnx.ml", name: "ZipMap", since: 1, import: Import::Any(zip) },
];

/// The longest row that a map is spread over.
const MAX_WIDTH: i64 = 1 << 24;

/// The keys and values of operand 0, which is a map.
fn pairs(cx: &mut Context) -> Built<[Value; 2]> {
    let Entity::List(map, Kind::Map(key, value)) = cx.entity(0)? else {
        return invalid("operand 0 is no map");
    };
    let [keys, values] = [(0, *key), (1, *value)].map(|(place, to)| {
        let (place, n) = (cx.int_scalar(place), cx.importer.symbol());
        cx.add(Op::ListAt { to, shape: vec![n] }, &[*map, place])
    });
    Ok([keys?, values?])
}

/// What stands where a map has nothing.
fn nothing(cx: &mut Context, dtype: DType) -> Value {
    if dtype == DType::String { cx.text("") } else { cx.scalar(dtype, 0.0) }
}

/// The values of the words of a vocabulary, `[1, words]`.
fn vectorizer(cx: &mut Context) -> Built {
    let [keys, values] = pairs(cx)?;
    let words = texts_or_ints(cx, "string_vocabulary", "int64_vocabulary")?;
    let (words, default) = (cx.constant(words), nothing(cx, cx.dtype(values)));
    let found = cx.add(Op::Lookup {}, &[words, keys, values, default])?;
    cx.unsqueeze(found, &[0])
}

/// The values in the order of their keys, or each at the place that its key names, `[1, n]`.
fn cast(cx: &mut Context) -> Built {
    let [keys, values] = pairs(cx)?;
    let to = match cx.string("cast_to", "TO_FLOAT")?.as_str() {
        "TO_FLOAT" => DType::F32,
        "TO_INT64" => DType::I64,
        "TO_STRING" => DType::String,
        other => return invalid(format!("cast_to `{other}`")),
    };
    if to == DType::String && cx.dtype(values) != DType::String {
        return unsupported("numbers of a map as texts");
    }
    let values = match (cx.dtype(values), to) {
        (from, to) if from == to => values,
        (DType::String, to) => cx.add(Op::NumberOf { to }, &[values])?,
        _ => cx.cast(values, to)?,
    };
    let row = match cx.string("map_form", "DENSE")?.as_str() {
        "DENSE" => {
            let k = cx.shape(keys)[0].clone();
            let sorted = cx.add(Op::TopK { axis: 0, k, largest: false, sorted: true }, &[keys])?;
            cx.add(Op::Gather { axis: 0 }, &[values, sorted.port(1)])?
        }
        "SPARSE" if to == DType::String => return unsupported("texts at the places that keys name"),
        "SPARSE" => {
            let width = cx.int("max_map", 1)?;
            if !(0..=MAX_WIDTH).contains(&width) {
                return unsupported(format!("a map over {width} places"));
            }
            let places = cx.add(Op::Iota { count: Dim::from(width), to: DType::I64 }, &[])?;
            let default = nothing(cx, to);
            cx.add(Op::Lookup {}, &[places, keys, values, default])?
        }
        other => return invalid(format!("map_form `{other}`")),
    };
    cx.unsqueeze(row, &[0])
}

/// A map from the labels, in their order, for each row of scores.
fn zip(cx: &mut Context) -> Built<Vec<Entity>> {
    let x = cx.operand(0)?;
    let x = if cx.rank(x) == 1 { cx.unsqueeze(x, &[0])? } else { cx.ranked(x, 2)? };
    let keys = texts_or_ints(cx, "classlabels_strings", "classlabels_int64s")?;
    let mut order: Vec<usize> = (0..keys.len()).collect();
    match keys.dtype() {
        DType::String => order.sort_by_key(|&i| keys.texts()[i].to_string()),
        _ => order.sort_by_key(|&i| keys.get_i64(i)),
    }
    let sorted = match keys.dtype() {
        DType::String => {
            let texts = keys.texts();
            Tensor::from_texts([keys.len()], &order.iter().map(|&i| texts[i]).collect::<Vec<_>>())
        }
        _ => Tensor::from_slice([keys.len()], &order.iter().map(|&i| keys.get_i64(i)).collect::<Vec<_>>()),
    };
    let (key, value) = (keys.dtype(), cx.dtype(x));
    if cx.shape(x)[1].known().is_some_and(|n| n != keys.len() as i64) {
        return Err(Fault::Invalid(format!("{} labels for {}", keys.len(), cx.ty(x))));
    }
    let keys = cx.constant(sorted);
    let order: Vec<i64> = order.into_iter().map(|i| i as i64).collect();
    let places = cx.int_list(&order);
    let x = cx.add(Op::Gather { axis: 1 }, &[x, places])?;
    let maps = cx.add(Op::ListMaps {}, &[keys, x])?;
    Ok(vec![Entity::List(maps, Kind::Sequence(Box::new(Kind::Map(key, value))))])
}
