//! `Tensor`: an element type, a shape and shared bytes in row-major order.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::element::{each_f64, each_i128, write_f64, write_i128};
use crate::storage::Storage;
use crate::{DType, Element, Heap};

/// A dense array. Cloning shares the bytes; those that this crate allocates are 64-byte aligned.
#[derive(Clone)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    storage: Storage,
    /// What the elements of reference types refer to.
    heap: Option<Arc<Heap>>,
}

/// Why bytes are no tensor of a shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// The shape needs more bytes than fit in memory.
    #[error("a tensor of {0} {1:?} is too large")]
    TooLarge(DType, Vec<usize>),
    /// The number of bytes is not that of the shape.
    #[error("{dtype} {shape:?} takes {expected} bytes, not {given}")]
    Size {
        /// The element type.
        dtype: DType,
        /// The shape.
        shape: Vec<usize>,
        /// Bytes the shape takes.
        expected: usize,
        /// Bytes that were given.
        given: usize,
    },
    /// The range lies outside the bytes of its owner.
    #[error("bytes {0:?} lie outside a file of {1} bytes")]
    Range(Range<usize>, usize),
}

/// The bytes a tensor takes.
pub(crate) fn byte_size(dtype: DType, shape: &[usize]) -> Result<usize, TensorError> {
    let too_large = || TensorError::TooLarge(dtype, shape.to_vec());
    if shape.contains(&0) {
        return Ok(0);
    }
    let size = shape.iter().try_fold(dtype.size(), |size, &dim| size.checked_mul(dim));
    size.filter(|&size| isize::try_from(size).is_ok_and(|size| size < isize::MAX - 64)).ok_or_else(too_large)
}

impl Tensor {
    /// A tensor over a copy of `bytes`: little endian, row-major.
    ///
    /// # Errors
    /// When the number of bytes is not that of the shape.
    pub fn new(
        dtype: DType,
        shape: impl Into<Vec<usize>>,
        bytes: impl AsRef<[u8]>,
    ) -> Result<Tensor, TensorError> {
        let (shape, bytes) = (shape.into(), bytes.as_ref());
        let expected = byte_size(dtype, &shape)?;
        if expected != bytes.len() {
            return Err(TensorError::Size { dtype, shape, expected, given: bytes.len() });
        }
        Ok(Tensor { dtype, shape, storage: Storage::copy_of(bytes), heap: None })
    }

    /// A tensor over a range of bytes that `owner` keeps alive, such as a memory map.
    ///
    /// # Errors
    /// When the range lies outside the bytes or has not the size of the shape.
    pub fn mapped(
        owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
        range: Range<usize>,
        dtype: DType,
        shape: impl Into<Vec<usize>>,
    ) -> Result<Tensor, TensorError> {
        let shape = shape.into();
        let expected = byte_size(dtype, &shape)?;
        let bytes = (*owner).as_ref();
        let Some(part) = bytes.get(range.clone()) else {
            return Err(TensorError::Range(range, bytes.len()));
        };
        if part.len() != expected {
            return Err(TensorError::Size { dtype, shape, expected, given: part.len() });
        }
        Ok(Tensor { dtype, shape, storage: Storage::Shared { owner, range }, heap: None })
    }

    /// A tensor of zeros.
    ///
    /// # Panics
    /// When the shape does not fit in memory.
    pub fn zeros(dtype: DType, shape: impl Into<Vec<usize>>) -> Tensor {
        let shape = shape.into();
        let size = byte_size(dtype, &shape).unwrap_or_else(|error| panic!("{error}"));
        Tensor { dtype, shape, storage: Storage::zeros(size), heap: None }
    }

    /// A tensor of these elements in row-major order.
    ///
    /// # Panics
    /// When their number is not that of the shape.
    pub fn from_slice<T: Element>(shape: impl Into<Vec<usize>>, elements: &[T]) -> Tensor {
        Tensor::new(T::DTYPE, shape, T::bytes_of(elements)).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A tensor without dimensions.
    pub fn scalar<T: Element>(value: T) -> Tensor {
        Tensor::from_slice([], &[value])
    }

    /// A tensor of these values in row-major order: rounded to nearest even for floats (eight-bit floats
    /// saturate, as ONNX Cast does), truncated and wrapped for integers, `!= 0` for `bool`.
    ///
    /// # Panics
    /// When their number is not that of the shape.
    pub fn from_f64s(
        dtype: DType,
        shape: impl Into<Vec<usize>>,
        values: impl IntoIterator<Item = f64>,
    ) -> Tensor {
        // The choice of the common types is made once, not for every element.
        match dtype {
            DType::F32 => Tensor::filled(dtype, shape.into(), values, |x, out| write_f64(DType::F32, x, out)),
            DType::F64 => Tensor::filled(dtype, shape.into(), values, |x, out| write_f64(DType::F64, x, out)),
            _ => Tensor::filled(dtype, shape.into(), values, |x, out| write_f64(dtype, x, out)),
        }
    }

    /// A tensor of these values in row-major order, wrapped to the bits of an integer type.
    ///
    /// # Panics
    /// When their number is not that of the shape.
    pub fn from_i64s(
        dtype: DType,
        shape: impl Into<Vec<usize>>,
        values: impl IntoIterator<Item = i64>,
    ) -> Tensor {
        Tensor::filled(dtype, shape.into(), values, |value, out| write_i128(dtype, value.into(), out))
    }

    /// As [`Tensor::from_i64s`], wide enough for `u64`.
    ///
    /// # Panics
    /// When their number is not that of the shape.
    pub fn from_i128s(
        dtype: DType,
        shape: impl Into<Vec<usize>>,
        values: impl IntoIterator<Item = i128>,
    ) -> Tensor {
        Tensor::filled(dtype, shape.into(), values, |value, out| write_i128(dtype, value, out))
    }

    fn filled<T>(
        dtype: DType,
        shape: Vec<usize>,
        values: impl IntoIterator<Item = T>,
        write: impl Fn(T, &mut [u8]),
    ) -> Tensor {
        let mut tensor = Tensor::zeros(dtype, shape);
        let mut values = values.into_iter();
        for out in tensor.bytes_mut().chunks_exact_mut(dtype.size()) {
            write(values.next().expect("a tensor should be given all its values"), out);
        }
        assert!(values.next().is_none(), "more values than {dtype} {:?} has", tensor.shape);
        tensor
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The sizes of the dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.bytes().len() / self.dtype.size()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// Whether there are no dimensions.
    pub fn is_scalar(&self) -> bool {
        self.shape.is_empty()
    }

    /// Elements from one index to the next, per dimension.
    pub fn strides(&self) -> Vec<usize> {
        let mut strides = vec![1usize; self.shape.len()];
        for axis in (1..self.shape.len()).rev() {
            strides[axis - 1] = strides[axis].saturating_mul(self.shape[axis]);
        }
        strides
    }

    /// The bytes of all elements: little endian, row-major.
    pub fn bytes(&self) -> &[u8] {
        self.storage.bytes()
    }

    /// The bytes for writing; copies them first where other tensors share them.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.storage.bytes_mut()
    }

    /// The bytes for writing, where no other tensor shares them.
    pub fn unique_bytes_mut(&mut self) -> Option<&mut [u8]> {
        self.storage.unique_bytes_mut()
    }

    /// The elements, where `T` is the element type and the bytes are aligned for it.
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        if T::DTYPE == self.dtype { T::from_bytes(self.bytes()) } else { None }
    }

    /// All elements as doubles; 64-bit integers are rounded.
    pub fn to_f64s(&self) -> Vec<f64> {
        let mut values = Vec::with_capacity(self.len());
        each_f64(self.dtype, self.bytes(), |value| values.push(value));
        values
    }

    /// All elements as integers: `u64` by its bits, floats truncated and saturated.
    pub fn to_i64s(&self) -> Vec<i64> {
        let saturate = |value: i128| value.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        let mut values = Vec::with_capacity(self.len());
        each_i128(self.dtype, self.bytes(), |value| {
            values.push(if self.dtype.is_float() { saturate(value) } else { value as i64 });
        });
        values
    }

    /// All elements as integers, exact for every integer type; floats are truncated.
    pub fn to_i128s(&self) -> Vec<i128> {
        let mut values = Vec::with_capacity(self.len());
        each_i128(self.dtype, self.bytes(), |value| values.push(value));
        values
    }

    /// Element `index` in row-major order, as a double.
    ///
    /// # Panics
    /// When there is no such element.
    pub fn get_f64(&self, index: usize) -> f64 {
        let mut found = 0.0;
        each_f64(self.dtype, self.element(index), |value| found = value);
        found
    }

    /// Element `index` in row-major order, as an integer; as of [`Tensor::to_i64s`].
    ///
    /// # Panics
    /// When there is no such element.
    pub fn get_i64(&self, index: usize) -> i64 {
        let mut found = 0;
        each_i128(self.dtype, self.element(index), |value| found = value);
        if self.dtype.is_float() {
            found.clamp(i64::MIN.into(), i64::MAX.into()) as i64
        } else {
            found as i64
        }
    }

    fn element(&self, index: usize) -> &[u8] {
        let size = self.dtype.size();
        &self.bytes()[index * size..(index + 1) * size]
    }

    /// The same elements in another shape, sharing the bytes.
    ///
    /// # Panics
    /// When the number of elements differs.
    pub fn reshaped(&self, shape: impl Into<Vec<usize>>) -> Tensor {
        let shape = shape.into();
        let size = byte_size(self.dtype, &shape);
        assert_eq!(size, Ok(self.bytes().len()), "{:?} reshaped to {shape:?}", self.shape);
        Tensor { dtype: self.dtype, shape, storage: self.storage.clone(), heap: self.heap.clone() }
    }

    /// The same values as another element type, with the conversions of [`Tensor::from_f64s`]; between
    /// integers exact or wrapped.
    pub fn cast(&self, dtype: DType) -> Tensor {
        match (self.dtype.is_float(), dtype) {
            _ if dtype == self.dtype => self.clone(),
            (false, _) => Tensor::from_i128s(dtype, self.shape.clone(), self.to_i128s()),
            (true, _) => Tensor::from_f64s(dtype, self.shape.clone(), self.to_f64s()),
        }
    }
}

/// Texts and lists.
impl Tensor {
    /// A tensor of these texts in row-major order.
    ///
    /// # Panics
    /// When their number is not that of the shape.
    pub fn from_texts<T: AsRef<str>>(shape: impl Into<Vec<usize>>, texts: &[T]) -> Tensor {
        let mut heap = Heap::default();
        let numbers: Vec<u64> = texts.iter().map(|text| heap.text_number(text.as_ref())).collect();
        let mut tensor = Tensor::from_slice(shape, &numbers);
        (tensor.dtype, tensor.heap) = (DType::String, Some(Arc::new(heap)));
        tensor
    }

    /// A tensor without dimensions whose element is the list of these tensors.
    pub fn from_list(items: impl Into<Vec<Tensor>>) -> Tensor {
        let mut heap = Heap::default();
        let mut tensor = Tensor::scalar(heap.list_number(items.into().into()));
        (tensor.dtype, tensor.heap) = (DType::List, Some(Arc::new(heap)));
        tensor
    }

    /// The elements of a tensor of texts; empty ones for numbers that its heap has not.
    pub fn texts(&self) -> Vec<&str> {
        let text = |number| self.heap.as_ref().map_or("", |heap| heap.text(number));
        self.numbers().map(text).collect()
    }

    /// The tensors in the list that is element `index`; none for a number that the heap has not.
    ///
    /// # Panics
    /// When there is no such element.
    pub fn items(&self, index: usize) -> &[Tensor] {
        let number = self.get_i64(index) as u64;
        self.heap.as_ref().map_or(&[], |heap| heap.list(number))
    }

    /// What the elements refer to.
    pub fn heap(&self) -> Option<&Arc<Heap>> {
        self.heap.as_ref()
    }

    /// The tensor with another heap, in which its elements are numbers.
    pub fn with_heap(mut self, heap: Arc<Heap>) -> Tensor {
        self.heap = Some(heap);
        self
    }

    /// The numbers that elements of a reference type are.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.bytes()
            .chunks_exact(8)
            .map(|chunk| u64::from_le_bytes(chunk.try_into().expect("a chunk should have its size")))
    }

    /// Tensors of one element type one behind the other, as one of this shape.
    ///
    /// # Errors
    /// When they have not as many elements as the shape.
    pub fn joined(
        dtype: DType,
        shape: impl Into<Vec<usize>>,
        parts: &[Tensor],
    ) -> Result<Tensor, TensorError> {
        let mut heap = Heap::default();
        let mut bytes = Vec::new();
        for part in parts {
            bytes.extend_from_slice(heap.adopt(part).bytes());
        }
        let joined = Tensor::new(dtype, shape, bytes)?;
        Ok(if dtype.is_reference() { joined.with_heap(Arc::new(heap)) } else { joined })
    }
}

impl PartialEq for Tensor {
    /// The same type, shape and bytes; NaNs with the same bits are equal. Texts and lists are compared.
    fn eq(&self, other: &Tensor) -> bool {
        let alike = self.dtype == other.dtype && self.shape == other.shape;
        alike
            && match self.dtype {
                DType::String => self.texts() == other.texts(),
                DType::List => (0..self.len()).all(|i| self.items(i) == other.items(i)),
                _ => self.bytes() == other.bytes(),
            }
    }
}

impl fmt::Debug for Tensor {
    /// Type and shape, and the first values.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        const SHOWN: usize = 8;
        write!(f, "{}{:?} [", self.dtype, self.shape)?;
        for index in 0..self.len().min(SHOWN) {
            let separator = if index == 0 { "" } else { ", " };
            match self.dtype {
                DType::String => write!(f, "{separator}{:?}", self.texts()[index])?,
                DType::List => write!(f, "{separator}{:?}", self.items(index))?,
                dtype if dtype.is_float() => write!(f, "{separator}{}", self.get_f64(index))?,
                _ => write!(f, "{separator}{}", self.get_i64(index))?,
            }
        }
        f.write_str(if self.len() > SHOWN { ", …]" } else { "]" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;

    #[test]
    fn elements_round_trip() {
        let tensor = Tensor::from_slice([2, 3], &[1i32, -2, 3, -4, 5, -6]);
        assert_eq!(tensor.as_slice::<i32>(), Some(&[1, -2, 3, -4, 5, -6][..]));
        assert_eq!(tensor.as_slice::<u32>(), None);
        assert_eq!(tensor.to_i64s(), [1, -2, 3, -4, 5, -6]);
        assert_eq!((tensor.strides(), tensor.get_f64(3), tensor.len()), (vec![3, 1], -4.0, 6));
        assert_eq!(tensor.bytes().as_ptr() as usize % 64, 0);
        assert_eq!(tensor.reshaped([6]).reshaped([2, 3]), tensor);
        assert_eq!(format!("{tensor:?}"), "i32[2, 3] [1, -2, 3, -4, 5, -6]");
        assert!(Tensor::scalar(true).as_slice::<bool>().unwrap()[0]);
        assert!(Tensor::zeros(DType::F32, [0, usize::MAX, usize::MAX]).is_empty());
    }

    #[test]
    fn sizes_are_checked() {
        assert!(matches!(Tensor::new(DType::F32, [2], [0; 7]), Err(TensorError::Size { expected: 8, .. })));
        let huge = Tensor::new(DType::F32, [usize::MAX, 2], []);
        assert!(matches!(huge, Err(TensorError::TooLarge(..))));
        let owner = Arc::new(vec![1u8, 2, 3, 4]);
        let part = Tensor::mapped(owner.clone(), 1..3, DType::U8, [2]).unwrap();
        assert_eq!(part.to_i64s(), [2, 3]);
        assert!(matches!(Tensor::mapped(owner, 3..5, DType::U8, [2]), Err(TensorError::Range(..))));
    }

    #[test]
    fn sharing_copies_on_write() {
        let first = Tensor::from_slice([2], &[1u8, 2]);
        let mut second = first.clone();
        second.bytes_mut()[0] = 9;
        assert_eq!((first.to_i64s(), second.to_i64s()), (vec![1, 2], vec![9, 2]));
    }

    #[test]
    fn integers_wrap() {
        let wrap = |dtype, value| Tensor::from_i64s(dtype, [], [value]).get_i64(0);
        assert_eq!(wrap(DType::I4, 9), -7);
        assert_eq!(wrap(DType::U4, -1), 15);
        assert_eq!(wrap(DType::U8, 300), 44);
        assert_eq!(wrap(DType::Bool, 256), 1);
        assert_eq!(Tensor::from_i128s(DType::U64, [], [u64::MAX.into()]).to_i128s(), [u64::MAX.into()]);
        assert_eq!(Tensor::from_f64s(DType::I32, [2], [-1.9, 2.9]).to_i64s(), [-1, 2]);
    }

    #[test]
    fn floats_round_to_nearest_even_and_saturate() {
        let cast = |dtype, value| Tensor::from_f64s(dtype, [], [value]).get_f64(0);
        assert_eq!(cast(DType::F8E4M3FN, 1e9), 448.0);
        assert_eq!(cast(DType::F8E4M3FNUZ, -1e9), -240.0);
        assert_eq!(cast(DType::F8E5M2, f64::INFINITY), 57344.0);
        assert_eq!(cast(DType::F4E2M1, 2.5), 2.0);
        assert_eq!(cast(DType::F4E2M1, 100.0), 6.0);
        assert!(cast(DType::F8E5M2FNUZ, f64::NAN).is_nan());
        assert_eq!(cast(DType::F16, 65520.0), f64::INFINITY);
        assert_eq!(cast(DType::F16, 2049.0), 2048.0);
        // Just above the tie between 16 and 18 of e4m3: rounding through f32 first would lose it.
        assert_eq!(cast(DType::F8E4M3FN, 17.0 + 1e-12), 18.0);
        assert_eq!(cast(DType::F8E4M3FN, 17.0), 16.0);
        assert_eq!((cast(DType::F8E8M0, 4.0), cast(DType::F8E8M0, 4.5)), (4.0, 8.0));
        assert_eq!(
            (cast(DType::F8E8M0, 0.0), cast(DType::F8E8M0, f32::MAX.into())),
            (2f64.powi(-127), 2f64.powi(127))
        );
        assert_eq!(Tensor::scalar(f16::from_f32(0.5)).cast(DType::BF16).to_f64s(), [0.5]);
    }
}
