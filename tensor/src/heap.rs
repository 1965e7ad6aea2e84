//! What elements of reference types refer to: texts and lists of tensors, by number.
//!
//! An element of such a type is a number of eight bytes, so whatever moves elements moves texts and lists
//! too. Equal texts of a heap have the same number, so whatever compares numbers compares texts. Number 0 is
//! the empty text and the empty list: zeroed memory is valid. A number that a heap has not stands for them
//! too.

use std::collections::HashMap;
use std::sync::Arc;

use crate::{DType, Tensor};

/// Texts and lists of tensors.
#[derive(Debug, Clone, Default)]
pub struct Heap {
    /// Text `number - 1`.
    texts: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u64>,
    /// List `number - 1`. The tensors in it have heaps of their own.
    lists: Vec<Arc<[Tensor]>>,
}

impl Heap {
    /// A heap with these texts, numbered from 1; an empty one or one that repeats keeps its place.
    pub fn of_texts<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Heap {
        let mut heap = Heap::default();
        for text in texts {
            let text: Arc<str> = text.as_ref().into();
            heap.texts.push(text.clone());
            heap.numbers.entry(text).or_insert(heap.texts.len() as u64);
        }
        heap
    }

    /// The texts, of which the first has number 1.
    pub fn all_texts(&self) -> impl ExactSizeIterator<Item = &str> {
        self.texts.iter().map(|text| &**text)
    }

    /// Forgets all lists, and all texts but the first `count`.
    pub fn truncate(&mut self, count: usize) {
        self.lists.clear();
        for text in self.texts.drain(count.min(self.texts.len())..) {
            // One that repeats an earlier text has not a number of its own.
            if self.numbers.get(&text).is_some_and(|&number| number > count as u64) {
                self.numbers.remove(&text);
            }
        }
    }

    /// The number of a text, which becomes part of the heap.
    pub fn text_number(&mut self, text: &str) -> u64 {
        if text.is_empty() {
            return 0;
        }
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let text: Arc<str> = text.into();
        self.texts.push(text.clone());
        self.numbers.insert(text, self.texts.len() as u64);
        self.texts.len() as u64
    }

    /// The number of a new list.
    pub fn list_number(&mut self, items: Arc<[Tensor]>) -> u64 {
        if items.is_empty() {
            return 0;
        }
        self.lists.push(items);
        self.lists.len() as u64
    }

    /// The text of a number.
    pub fn text(&self, number: u64) -> &str {
        place(number).and_then(|place| self.texts.get(place)).map_or("", |text| text)
    }

    /// The list of a number.
    pub fn list(&self, number: u64) -> &[Tensor] {
        place(number).and_then(|place| self.lists.get(place)).map_or(&[], |list| list)
    }

    /// A tensor whose elements are numbers of this heap, which it does not hold; numbers of no heap become 0, and
    /// what refers to nothing stays as it is.
    pub fn adopt(&mut self, tensor: &Tensor) -> Tensor {
        if !tensor.dtype().is_reference() {
            return tensor.clone();
        }
        let Some(heap) = tensor.heap() else { return Tensor::zeros(tensor.dtype(), tensor.shape()) };
        let mut known: HashMap<u64, u64> = HashMap::new();
        let mut own = |number: u64| match tensor.dtype() {
            DType::List => match place(number).and_then(|place| heap.lists.get(place)) {
                Some(list) => self.list_number(list.clone()),
                None => 0,
            },
            _ => self.text_number(heap.text(number)),
        };
        let numbers = tensor.numbers().map(|number| *known.entry(number).or_insert_with(|| own(number)));
        let bytes: Vec<u8> = numbers.flat_map(u64::to_le_bytes).collect();
        Tensor::new(tensor.dtype(), tensor.shape(), bytes).expect("as many elements as before")
    }

    /// A tensor with a heap of its own, which holds what its elements refer to here.
    pub fn released(&self, numbers: &Tensor) -> Tensor {
        if !numbers.dtype().is_reference() {
            return numbers.clone();
        }
        let mut own = Heap::default();
        let mut known: HashMap<u64, u64> = HashMap::new();
        let mut moved = |number: u64| match numbers.dtype() {
            DType::List => match place(number).and_then(|place| self.lists.get(place)) {
                Some(list) => own.list_number(list.clone()),
                None => 0,
            },
            _ => own.text_number(self.text(number)),
        };
        let renumbered =
            numbers.numbers().map(|number| *known.entry(number).or_insert_with(|| moved(number)));
        let bytes: Vec<u8> = renumbered.flat_map(u64::to_le_bytes).collect();
        let tensor =
            Tensor::new(numbers.dtype(), numbers.shape(), bytes).expect("as many elements as before");
        tensor.with_heap(Arc::new(own))
    }

    /// Tensors with one heap for all of them.
    pub fn shared(tensors: &[Tensor]) -> (Vec<Tensor>, Arc<Heap>) {
        let mut heap = Heap::default();
        let adopted: Vec<Tensor> = tensors.iter().map(|tensor| heap.adopt(tensor)).collect();
        let heap = Arc::new(heap);
        let with = |tensor: Tensor| match tensor.dtype().is_reference() {
            true => tensor.with_heap(heap.clone()),
            false => tensor,
        };
        (adopted.into_iter().map(with).collect(), heap.clone())
    }
}

/// Where something with this number stands.
fn place(number: u64) -> Option<usize> {
    usize::try_from(number.checked_sub(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_have_one_number() {
        let a = Tensor::from_texts([3], &["x", "", "yy"]);
        let b = Tensor::from_texts([2], &["yy", "x"]);
        let (shared, _) = Heap::shared(&[a.clone(), b.clone()]);
        assert_eq!((shared[0].to_i64s(), shared[1].to_i64s()), (vec![1, 0, 2], vec![2, 1]));
        assert_eq!((&shared[0], &shared[1]), (&a, &b));
        assert_ne!(a, Tensor::from_texts([3], &["x", "", "y"]));
        assert_eq!(format!("{a:?}"), r#"string[3] ["x", "", "yy"]"#);
        assert_eq!(Tensor::zeros(DType::String, [2]).texts(), ["", ""]);
        let joined = Tensor::joined(DType::String, [5], &[a, b]).unwrap();
        assert_eq!(joined.texts(), ["x", "", "yy", "yy", "x"]);
    }

    #[test]
    fn lists_hold_tensors_and_lists() {
        let inner = Tensor::from_list([Tensor::scalar(1.5f32), Tensor::from_texts([1], &["z"])]);
        let outer = Tensor::from_list([inner.clone(), Tensor::from_list([])]);
        let mut heap = Heap::default();
        let numbers = heap.adopt(&outer);
        assert_eq!((numbers.heap().is_none(), numbers.get_i64(0)), (true, 1));
        let back = heap.released(&numbers);
        assert_eq!(back, outer);
        assert_eq!(back.items(0)[0], inner);
        assert!(back.items(0)[1].items(0).is_empty());
        // A number of nothing.
        let foreign = Tensor::new(DType::List, [], 77u64.to_le_bytes()).unwrap();
        assert!(heap.released(&foreign).items(0).is_empty() && foreign.items(0).is_empty());
    }

    #[test]
    fn a_heap_goes_back_to_its_first_texts() {
        let mut heap = Heap::of_texts(["a", "b"]);
        assert_eq!((heap.text_number("b"), heap.text_number("c")), (2, 3));
        heap.truncate(2);
        assert_eq!((heap.text_number("d"), heap.text(3), heap.text(4)), (3, "d", ""));
        assert_eq!(heap.all_texts().collect::<Vec<_>>(), ["a", "b", "d"]);
    }
}
