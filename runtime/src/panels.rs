//! Panels: the elements of a constant in the order in which a kernel reads them.
//!
//! The compiler lays panels out for the file of one target; for a file of several it writes how, and the runtime lays
//! them out when a target is used, so that the file has the constant once.

use sardonyx_tensor::{DType, Tensor};

/// A place in the depth or width of a matrix that holds zeros.
pub const ZERO: i64 = i64::MIN;

/// A matrix in a row-major tensor that becomes panels. Element (i, j) is element `place + depth[i] + columns[j]` of the
/// tensor, or zero where one of them is [`ZERO`].
///
/// A panel has `width` columns; in it, `beside` elements of a column stand side by side, then those of the next column,
/// then the next `beside` rows; rows that are missing in the end are zeros.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    /// Where it begins.
    pub place: i64,
    /// How far from there its rows stand.
    pub depth: &'a [i64],
    /// How far from there its columns stand; they fill whole panels.
    pub columns: &'a [i64],
    /// Columns of a panel.
    pub width: usize,
    /// Rows that stand side by side in a panel.
    pub beside: usize,
}

impl Matrix<'_> {
    /// The elements of its panels.
    pub fn elements(&self) -> usize {
        self.depth.len().next_multiple_of(self.beside) * self.columns.len()
    }

    /// Whether it lies in a tensor of so many elements. Then places summed with wrapping are right.
    pub fn lies_in(&self, elements: usize) -> bool {
        let ends = |list: &[i64]| {
            let places = || list.iter().filter(|&&place| place != ZERO).map(|&place| i128::from(place));
            Some((places().min()?, places().max()?))
        };
        let (Some(rows), Some(columns)) = (ends(self.depth), ends(self.columns)) else { return true };
        let place = i128::from(self.place);
        place + rows.0 + columns.0 >= 0 && place + rows.1 + columns.1 < elements as i128
    }
}

/// Lays matrices of a tensor out in panels of elements of type `to`, one after the other.
///
/// # Panics
/// When a matrix does not lie in the tensor, or `panels` has another size than all panels.
pub fn pack(source: &[u8], from: DType, matrices: &[Matrix<'_>], to: DType, panels: &mut [u8]) {
    let mut rest = panels;
    let mut raw = Vec::new();
    for matrix in matrices {
        let elements = matrix.depth.len().next_multiple_of(matrix.beside) * matrix.width;
        for columns in matrix.columns.chunks_exact(matrix.width) {
            let (panel, after) = rest.split_at_mut(elements * to.size());
            rest = after;
            if from == to {
                fill_panel(source, from.size(), matrix, columns, panel);
                continue;
            }
            raw.clear();
            raw.resize(elements * from.size(), 0);
            fill_panel(source, from.size(), matrix, columns, &mut raw);
            let tensor = Tensor::new(from, [elements], &raw[..]).expect("as many bytes as elements");
            panel.copy_from_slice(tensor.cast(to).bytes());
        }
    }
    assert!(rest.is_empty(), "panels should fill their memory");
}

fn fill_panel(source: &[u8], size: usize, matrix: &Matrix<'_>, columns: &[i64], panel: &mut [u8]) {
    match size {
        1 => fill::<1>(source, matrix, columns, panel),
        2 => fill::<2>(source, matrix, columns, panel),
        4 => fill::<4>(source, matrix, columns, panel),
        _ => fill::<8>(source, matrix, columns, panel),
    }
}

/// Copies elements of `S` bytes into a panel of zeros.
fn fill<const S: usize>(source: &[u8], matrix: &Matrix<'_>, columns: &[i64], panel: &mut [u8]) {
    let (from, to) = (source.as_chunks::<S>().0, panel.as_chunks_mut::<S>().0);
    let Matrix { place, depth, width, beside, .. } = *matrix;
    let there = columns.iter().position(|&column| column == ZERO).unwrap_or(width);
    let neighbours = columns[..there].windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1));
    if beside == 1 && there > 1 && neighbours && columns[there..].iter().all(|&column| column == ZERO) {
        // Rows of neighbours, each a copy.
        for (&deep, row) in depth.iter().zip(to.chunks_exact_mut(width)).filter(|(deep, _)| **deep != ZERO) {
            let at = place.wrapping_add(deep).wrapping_add(columns[0]) as usize;
            row[..there].copy_from_slice(&from[at..at + there]);
        }
        return;
    }
    // Column by column: elements of a column are neighbours more often than those of a row, and the panel is small.
    for (j, &column) in columns.iter().enumerate().filter(|(_, column)| **column != ZERO) {
        for (group, rows) in depth.chunks(beside).enumerate() {
            let first = (group * width + j) * beside;
            for (element, &deep) in to[first..first + beside].iter_mut().zip(rows) {
                if deep != ZERO {
                    *element = from[place.wrapping_add(deep).wrapping_add(column) as usize];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_stand_in_panels() {
        // Rows of a 3 by 3 matrix as columns, in panels of two columns, two rows side by side.
        let source: Vec<u8> = (1..=9).collect();
        let (depth, columns) = ([0, 1, 2], [0, 3, 6, ZERO]);
        let matrix = Matrix { place: 0, depth: &depth, columns: &columns, width: 2, beside: 2 };
        let mut panels = vec![0; matrix.elements()];
        pack(&source, DType::U8, &[matrix], DType::U8, &mut panels);
        assert_eq!(panels, [1, 2, 4, 5, 3, 0, 6, 0, 7, 8, 0, 0, 9, 0, 0, 0]);
        let rows = Matrix { depth: &[6, ZERO, 0], columns: &[1, 2, 0, ZERO], width: 2, beside: 1, ..matrix };
        let mut panels = vec![0; rows.elements()];
        pack(&source, DType::U8, &[rows], DType::U8, &mut panels);
        assert_eq!(panels, [8, 9, 0, 0, 2, 3, 7, 0, 0, 0, 1, 0]);
        let mut floats = vec![0; matrix.elements() * 4];
        pack(&source, DType::U8, &[matrix], DType::F32, &mut floats);
        assert_eq!(floats[..8], [1f32.to_le_bytes(), 2f32.to_le_bytes()].concat());
        assert!(matrix.lies_in(9) && !matrix.lies_in(8));
        assert!(!Matrix { place: -1, ..matrix }.lies_in(9));
        assert!(!Matrix { depth: &[i64::MAX], columns: &[i64::MAX], ..matrix }.lies_in(9));
        assert!(Matrix { depth: &[ZERO], place: 1 << 40, ..matrix }.lies_in(0));
    }
}
