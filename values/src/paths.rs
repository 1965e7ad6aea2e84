//! Paths through tables.

use sardonyx_tensor::Tensor;

/// The cheapest path from the first to the last element of a table of costs `[m,n]` by steps of one row, one column
/// or both, as rows and columns, i32 `[2,count]` (dynamic time warping). Of equally cheap steps one along a row is
/// taken; costs are summed in singles.
///
/// # Errors
/// When there is no element.
pub fn time_warp(costs: &Tensor) -> Result<Tensor, String> {
    let [rows, columns] = *costs.shape() else { return Err(format!("costs of shape {:?}", costs.shape())) };
    if rows == 0 || columns == 0 {
        return Err("there is no path through an empty table".into());
    }
    let cost: Vec<f32> = costs.to_f64s().into_iter().map(|c| c as f32).collect();
    // One row and one column of infinities before the first.
    let width = columns + 1;
    let mut sums = vec![f32::INFINITY; (rows + 1) * width];
    let mut steps = vec![[0usize, 1]; (rows + 1) * width];
    sums[0] = 0.0;
    for row in 1..=rows {
        for column in 1..=columns {
            let at = row * width + column;
            let [both, down, right] = [sums[at - width - 1], sums[at - width], sums[at - 1]];
            let (least, step) = if both < down && both < right {
                (both, [1, 1])
            } else if down < both && down < right {
                (down, [1, 0])
            } else {
                (right, [0, 1])
            };
            sums[at] = least + cost[(row - 1) * columns + column - 1];
            steps[at] = step;
        }
        steps[row * width] = [1, 0];
    }
    let (mut row, mut column) = (rows, columns);
    let mut path = Vec::new();
    while row > 0 && column > 0 {
        path.push((row as i32 - 1, column as i32 - 1));
        let [down, right] = steps[row * width + column];
        (row, column) = (row - down, column - right);
    }
    path.reverse();
    let both: Vec<i32> = path.iter().map(|p| p.0).chain(path.iter().map(|p| p.1)).collect();
    Ok(Tensor::from_slice([2, path.len()], &both))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheapest_path_is_found() {
        let costs = Tensor::from_slice([3, 4], &[1f32, 2., 3., 3., 0., 0., 3., 3., 0., 1., 3., 1.]);
        let path = time_warp(&costs).expect("a table");
        assert_eq!(path, Tensor::from_slice([2, 5], &[0i32, 1, 1, 2, 2, 0, 0, 1, 2, 3]));
        assert!(time_warp(&Tensor::from_slice([0, 2], &[0f32; 0])).is_err());
    }
}
