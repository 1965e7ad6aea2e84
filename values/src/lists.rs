//! Lists of tensors: making, reading, changing, joining and splitting.
//!
//! A list is a tensor without dimensions whose element type is `list`. Places count from the end where they are
//! negative.

use sardonyx_tensor::{DType, Tensor};
use std::ops::Range;

/// The longest list that a split makes.
const MAX_LENGTH: usize = 1 << 20;

/// A place among `count` things.
fn place(index: &Tensor, count: usize) -> Result<usize, String> {
    if index.len() != 1 {
        return Err(format!("{} places, one is needed", index.len()));
    }
    let given = index.get_i64(0);
    let place = if given < 0 { given.saturating_add(count as i64) } else { given };
    usize::try_from(place).ok().filter(|&p| p < count).ok_or_else(|| format!("place {given} of {count}"))
}

/// The item at a place.
///
/// # Errors
/// When the list has no such place.
pub fn list_at(list: &Tensor, index: &Tensor) -> Result<Tensor, String> {
    let items = list.items(0);
    Ok(items[place(index, items.len()).map_err(|error| format!("a list: {error}"))?].clone())
}

/// The list with an item before the one at a place, or behind all where the place is their number.
///
/// # Errors
/// When the place lies outside.
pub fn list_insert(list: &Tensor, item: &Tensor, index: &Tensor) -> Result<Tensor, String> {
    let mut items = list.items(0).to_vec();
    let at = match index.len() == 1 && index.get_i64(0) < 0 {
        true => place(index, items.len())?,
        false => place(index, items.len() + 1)?,
    };
    items.insert(at, item.clone());
    Ok(Tensor::from_list(items))
}

/// The list without the item at a place.
///
/// # Errors
/// When the list has no such place.
pub fn list_erase(list: &Tensor, index: &Tensor) -> Result<Tensor, String> {
    let mut items = list.items(0).to_vec();
    items.remove(place(index, items.len())?);
    Ok(Tensor::from_list(items))
}

/// The number of items, i64.
pub fn list_length(list: &Tensor) -> Tensor {
    Tensor::scalar(list.items(0).len() as i64)
}

/// The axis from the front, of so many.
fn axis_of(axis: i64, rank: usize) -> Result<usize, String> {
    let given = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    usize::try_from(given)
        .ok()
        .filter(|&a| a < rank)
        .ok_or_else(|| format!("there is no axis {axis} of {rank}"))
}

/// All items along an axis, which is new where `stack` says so.
///
/// # Errors
/// When there are none, or their types or shapes do not fit.
pub fn list_concat(list: &Tensor, axis: i64, stack: bool) -> Result<Tensor, String> {
    let items = list.items(0);
    let first = items.first().ok_or("the list is empty")?;
    let items: Vec<Tensor> = match stack {
        false => items.to_vec(),
        true => {
            let axis = axis_of(axis, first.rank() + 1)?;
            let widened = |item: &Tensor| {
                let mut shape = item.shape().to_vec();
                shape.insert(axis.min(item.rank()), 1);
                item.reshaped(shape)
            };
            items.iter().map(widened).collect()
        }
    };
    let axis = axis_of(axis, items[0].rank())?;
    let like = |item: &Tensor| {
        let others = |t: &Tensor| [&t.shape()[..axis], &t.shape()[axis + 1..]].concat();
        item.dtype() == items[0].dtype()
            && item.rank() == items[0].rank()
            && others(item) == others(&items[0])
    };
    if let Some(other) = items.iter().find(|item| !like(item)) {
        let of = |t: &Tensor| format!("{}{:?}", t.dtype(), t.shape());
        return Err(format!("{} beside {} along axis {axis}", of(other), of(&items[0])));
    }
    let mut shape = items[0].shape().to_vec();
    shape[axis] = items.iter().map(|item| item.shape()[axis]).sum();
    // Rows of the outer dimensions, each with the bytes of all items.
    let outer: usize = shape[..axis].iter().product();
    let (items, heap) = sardonyx_tensor::Heap::shared(&items);
    let mut bytes = Vec::new();
    for row in 0..outer {
        for item in &items {
            let width = item.bytes().len() / outer;
            bytes.extend_from_slice(&item.bytes()[row * width..(row + 1) * width]);
        }
    }
    let dtype = items[0].dtype();
    let joined = Tensor::new(dtype, shape, bytes).map_err(|error| error.to_string())?;
    Ok(if dtype.is_reference() { joined.with_heap(heap) } else { joined })
}

/// The parts of `x` along an axis, of the given sizes, or of one size (a scalar), the last being what is left;
/// without the axis unless `keep`, where all sizes are 1.
///
/// # Errors
/// When the sizes do not fit.
pub fn list_split(x: &Tensor, sizes: &Tensor, axis: i64, keep: bool) -> Result<Tensor, String> {
    let axis = axis_of(axis, x.rank())?;
    let whole = x.shape()[axis];
    let bad = || format!("{:?} as the sizes of the parts of {whole}", sizes.to_i64s());
    let given: Vec<usize> = sizes
        .to_i64s()
        .into_iter()
        .map(|n| usize::try_from(n).map_err(|_| bad()))
        .collect::<Result<_, _>>()?;
    let mut ranges: Vec<Range<usize>> = Vec::new();
    if sizes.is_scalar() {
        let size = given[0];
        if size == 0 || whole / size > MAX_LENGTH {
            return Err(bad());
        }
        ranges.extend((0..whole).step_by(size).map(|start| start..(start + size).min(whole)));
    } else {
        let mut start = 0usize;
        for size in given {
            let end = start.checked_add(size).filter(|&end| end <= whole).ok_or_else(bad)?;
            ranges.push(start..end);
            start = end;
        }
        if start != whole {
            return Err(bad());
        }
    }
    if !keep && ranges.iter().any(|range| range.len() != 1) {
        return Err(format!("an axis of parts that are not 1 long: {}", bad()));
    }
    let items: Result<Vec<Tensor>, String> =
        ranges.into_iter().map(|range| part(x, axis, range, keep)).collect();
    Ok(Tensor::from_list(items?))
}

/// A list with a map for each row of `rows` `[m,n]`: the list of `keys` `[n]` and the row.
///
/// # Errors
/// When there are not as many keys as columns.
pub fn list_maps(keys: &Tensor, rows: &Tensor) -> Result<Tensor, String> {
    if (keys.rank(), rows.rank()) != (1, 2) || keys.len() != rows.shape()[1] {
        return Err(format!("keys {:?} for rows {:?}", keys.shape(), rows.shape()));
    }
    let map = |row: usize| {
        let row = part(rows, 0, row..row + 1, false)?;
        Ok(Tensor::from_list([keys.clone(), row]))
    };
    Ok(Tensor::from_list((0..rows.shape()[0]).map(map).collect::<Result<Vec<_>, String>>()?))
}

fn part(x: &Tensor, axis: usize, range: Range<usize>, keep: bool) -> Result<Tensor, String> {
    let mut shape = x.shape().to_vec();
    let outer: usize = shape[..axis].iter().product();
    let inner = shape[axis + 1..].iter().product::<usize>() * x.dtype().size();
    let row = shape[axis] * inner;
    let rows = (0..outer).map(|o| &x.bytes()[o * row + range.start * inner..o * row + range.end * inner]);
    let bytes: Vec<u8> = rows.flatten().copied().collect();
    shape[axis] = range.len();
    if !keep {
        shape.remove(axis);
    }
    let part = Tensor::new(x.dtype(), shape, bytes).map_err(|error| error.to_string())?;
    Ok(match (x.dtype() == DType::String, x.heap()) {
        (true, Some(heap)) => part.with_heap(heap.clone()),
        _ => part,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(place: i64) -> Tensor {
        Tensor::scalar(place)
    }

    #[test]
    fn items_come_and_go() {
        let (a, b) = (Tensor::from_slice([2], &[1i64, 2]), Tensor::from_texts([1], &["x"]));
        let list = list_insert(&Tensor::from_list([]), &a, &at(0)).expect("behind all");
        let list = list_insert(&list, &b, &at(-1)).expect("before the last");
        assert_eq!((list_at(&list, &at(0)), list_at(&list, &at(-1))), (Ok(b), Ok(a.clone())));
        assert_eq!(list_length(&list), Tensor::scalar(2i64));
        assert!(list_at(&list, &at(2)).is_err() && list_insert(&list, &a, &at(3)).is_err());
        let less = list_erase(&list, &at(0)).expect("there are two");
        assert_eq!(less, Tensor::from_list([a]));
        assert!(list_erase(&Tensor::from_list([]), &at(-1)).is_err());
    }

    #[test]
    fn rows_become_maps() {
        let keys = Tensor::from_texts([2], &["a", "b"]);
        let maps = list_maps(&keys, &Tensor::from_slice([2, 2], &[1.0f32, 2.0, 3.0, 4.0])).expect("they fit");
        assert_eq!(maps.items(0)[1].items(0), [keys.clone(), Tensor::from_slice([2], &[3.0f32, 4.0])]);
        assert!(list_maps(&keys, &Tensor::from_slice([1, 1], &[1.0f32])).is_err());
    }

    #[test]
    fn what_is_split_is_joined_again() {
        let x = Tensor::from_slice([2, 5], &[0i32, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        for sizes in [at(2), Tensor::from_slice([3], &[1i64, 0, 4])] {
            let list = list_split(&x, &sizes, 1, true).expect("they fit");
            assert_eq!(list.items(0).len(), 3);
            assert_eq!(list_concat(&list, -1, false).expect("they fit"), x);
        }
        let rows = list_split(&x, &at(1), 0, false).expect("they fit");
        assert_eq!(rows.items(0)[1], Tensor::from_slice([5], &[5i32, 6, 7, 8, 9]));
        assert_eq!(list_concat(&rows, 0, true).expect("they fit"), x);
        assert!(list_split(&x, &at(2), 1, false).is_err() && list_split(&x, &at(0), 1, true).is_err());
        assert!(list_split(&x, &Tensor::from_slice([1], &[4i64]), 1, true).is_err());
        assert!(list_concat(&Tensor::from_list([]), 0, false).is_err());
        let texts = Tensor::from_texts([2], &["a", "b"]);
        let list = list_split(&texts, &at(1), 0, true).expect("they fit");
        assert_eq!(list_concat(&list, 0, false).expect("they fit"), texts);
    }
}
