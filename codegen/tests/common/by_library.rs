//! What a vendor's library would compute, from what a program asks of it: element by element, summed in f64.
use sardonyx_runtime::manifest::{Convolution, Image, LibraryCall, Product};
use sardonyx_tensor::{Bindings, DType, Dim};

/// What is in the buffer of an argument, as numbers of this type.
pub type Read<'a> = dyn FnMut(usize, DType) -> Vec<f64> + 'a;

/// Elements of a result: the argument that holds it, its type, and places with their values.
pub type Written = (usize, DType, Vec<(usize, f64)>);

/// The result of a call; `None` where a session would leave it to the kernel.
pub fn compute(call: &LibraryCall, symbols: &Bindings, read: &mut Read<'_>) -> Option<Written> {
    let eval = |dim: &Dim| dim.eval(symbols).unwrap();
    match call {
        LibraryCall::Product(product) => Some(multiply(product, &eval, read)),
        LibraryCall::Convolution(convolution) => convolve(convolution, &eval, read),
    }
}

fn multiply(product: &Product, eval: &dyn Fn(&Dim) -> i64, read: &mut Read<'_>) -> Written {
    let eval = |dim: &Dim| usize::try_from(eval(dim)).unwrap();
    let [batch, m, n, k] = [&product.batch, &product.m, &product.n, &product.k].map(eval);
    let places = [&product.a, &product.b, &product.out].map(|matrix| {
        let (offset, pitch, slice) = (eval(&matrix.offset), eval(&matrix.pitch), eval(&matrix.slice));
        let columns = matrix.columns;
        move |z: usize, row: usize, column: usize| {
            offset + z * slice + if columns { row + column * pitch } else { row * pitch + column }
        }
    });
    let [a, b] = [&product.a, &product.b].map(|matrix| read(matrix.arg, product.dtype));
    let all = (0..batch).flat_map(|z| (0..m).flat_map(move |i| (0..n).map(move |j| (z, i, j))));
    let sum = |z, i, j| (0..k).map(|l| a[places[0](z, i, l)] * b[places[1](z, l, j)]).sum();
    let elements = all.map(|(z, i, j)| (places[2](z, i, j), sum(z, i, j))).collect();
    (product.out.arg, product.out_dtype, elements)
}

fn convolve(c: &Convolution, eval: &dyn Fn(&Dim) -> i64, read: &mut Read<'_>) -> Option<Written> {
    let [input, output] = [&c.input, &c.output].map(|size| [eval(&size[0]), eval(&size[1])]);
    let fits = |axis: usize| {
        let room = input[axis] + 2 * c.pads[axis] - c.dilations[axis] * (c.kernel[axis] - 1) - 1;
        room >= 0 && output[axis] == room / c.strides[axis] + 1
    };
    if !fits(0) || !fits(1) {
        return None;
    }
    let place = |image: &Image| {
        let (offset, strides) = (eval(&image.offset), image.strides.each_ref().map(eval));
        move |at: [i64; 4]| {
            usize::try_from(offset + at.iter().zip(strides).map(|(i, stride)| i * stride).sum::<i64>())
                .unwrap()
        }
    };
    let (x, w) = (read(c.x.arg, c.dtype), read(c.w.arg, c.dtype));
    let bias = c.bias.as_ref().map(|bias| (read(bias.arg, c.dtype), eval(&bias.offset)));
    let residual = c.residual.as_ref().map(|image| (read(image.arg, c.dtype), place(image)));
    let (x_place, out_place, w_start) = (place(&c.x), place(&c.out), eval(&c.w.offset));
    let weight = |channel: i64, i: i64, [r, s]: [i64; 2]| {
        let at = match c.w.by_channels {
            true => ((channel * c.kernel[0] + r) * c.kernel[1] + s) * c.in_channels + i,
            false => ((channel * c.in_channels + i) * c.kernel[0] + r) * c.kernel[1] + s,
        };
        w[usize::try_from(w_start + at).unwrap()]
    };
    let sum = |[image, channel, row, column]: [i64; 4]| {
        let first = channel / c.out_channels * c.in_channels;
        let mut sum = 0.0;
        for (r, s) in (0..c.kernel[0]).flat_map(|r| (0..c.kernel[1]).map(move |s| (r, s))) {
            let y = row * c.strides[0] + r * c.dilations[0] - c.pads[0];
            let at = column * c.strides[1] + s * c.dilations[1] - c.pads[1];
            if (0..input[0]).contains(&y) && (0..input[1]).contains(&at) {
                let term = |i| x[x_place([image, first + i, y, at])] * weight(channel, i, [r, s]);
                sum += (0..c.in_channels).map(term).sum::<f64>();
            }
        }
        sum
    };
    let mut elements = Vec::new();
    for image in 0..eval(&c.batch) {
        for channel in 0..c.groups * c.out_channels {
            for (row, column) in (0..output[0]).flat_map(|row| (0..output[1]).map(move |at| (row, at))) {
                let at = [image, channel, row, column];
                let mut value = sum(at);
                value += bias.as_ref().map_or(0.0, |(b, start)| b[usize::try_from(start + channel).unwrap()]);
                value += residual.as_ref().map_or(0.0, |(r, place)| r[place(at)]);
                elements.push((out_place(at), if c.relu { value.max(0.0) } else { value }));
            }
        }
    }
    Some((c.out.arg, c.dtype, elements))
}
