//! Convolutions and pools.
use super::super::context::{Built, Context};
use super::super::error::{invalid, unsupported};
use super::{Row, many, one};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim};

pub(super) const ROWS: &[Row] = &[
    one("AveragePool", 1, average_pool),
    one("Col2Im", 18, col2im),
    one("Conv", 1, conv),
    one("ConvTranspose", 1, conv_transpose),
    one("DeformConv", 19, deform_conv),
    one("GlobalAveragePool", 1, |cx| global(cx, |cx, x, axes| cx.reduce_mean(x, axes))),
    one("GlobalLpPool", 2, global_lp_pool),
    one("GlobalMaxPool", 1, |cx| global(cx, |cx, x, axes| cx.reduce_max(x, axes))),
    one("LpPool", 2, lp_pool),
    many("MaxPool", 1, max_pool),
    one("MaxUnpool", 9, max_unpool),
];

/// The geometry of windows over the spatial axes.
pub(super) struct Windows {
    pub kernel: Vec<i64>,
    pub strides: Vec<i64>,
    pub pads: Vec<i64>,
    pub dilations: Vec<i64>,
}

impl Windows {
    /// From the node's attributes, for windows of this size on this tensor.
    pub fn read(cx: &Context, x: Value, kernel: Vec<i64>) -> Built<Windows> {
        let shape = cx.shape(x);
        let spatial = shape.get(2..).unwrap_or_default();
        let n = spatial.len();
        let strides = cx.ints("strides")?.unwrap_or_else(|| vec![1; n]);
        let dilations = cx.ints("dilations")?.unwrap_or_else(|| vec![1; n]);
        let pads = cx.ints("pads")?.filter(|p| !p.is_empty()).unwrap_or_else(|| vec![0; 2 * n]);
        if [kernel.len(), strides.len(), dilations.len()] != [n; 3] || pads.len() != 2 * n {
            return invalid(format!("windows of {} axes over {}", kernel.len(), cx.ty(x)));
        }
        let all = kernel.iter().chain(&strides).chain(&dilations).chain(&pads);
        if all.clone().any(|&a| a.unsigned_abs() > 1 << 31)
            || kernel.iter().chain(&strides).chain(&dilations).any(|&a| a < 1)
        {
            return invalid("sizes, strides or dilations below 1 or beyond reason");
        }
        let mut windows = Windows { kernel, strides, pads, dilations };
        match cx.string("auto_pad", "NOTSET")?.as_str() {
            "NOTSET" | "" => {}
            "VALID" => windows.pads = vec![0; 2 * n],
            "SAME_UPPER" => windows.same(spatial, true)?,
            "SAME_LOWER" => windows.same(spatial, false)?,
            other => return invalid(format!("unknown auto_pad `{other}`")),
        }
        Ok(windows)
    }

    /// The elements from the first to the last that a window of axis `i` touches.
    pub fn reach(&self, i: usize) -> i64 {
        (self.kernel[i] - 1) * self.dilations[i] + 1
    }

    /// Pads so that there are `ceil(size / stride)` windows.
    fn same(&mut self, spatial: &[Dim], upper: bool) -> Built<()> {
        let n = spatial.len();
        for (i, size) in spatial.iter().enumerate() {
            let (stride, reach) = (self.strides[i], self.reach(i));
            let total = match size.known() {
                Some(size) => ((size + stride - 1) / stride - 1) * stride + reach - size,
                None if stride == 1 => reach - 1,
                None => return unsupported("auto_pad over a symbolic size with a stride"),
            };
            let (total, half) = (total.max(0), total.max(0) / 2);
            let (before, after) = if upper { (half, total - half) } else { (total - half, half) };
            (self.pads[i], self.pads[i + n]) = (before, after);
        }
        Ok(())
    }
}

/// The known size of the kernel: of the weight, and the same in the attribute if it is there.
fn kernel_of(cx: &Context, w: Value) -> Built<Vec<i64>> {
    let shape = cx.shape(w);
    let sizes: Option<Vec<i64>> = shape.get(2..).unwrap_or_default().iter().map(Dim::known).collect();
    let Some(sizes) = sizes else { return unsupported("a kernel of symbolic size") };
    match cx.ints("kernel_shape")? {
        Some(given) if given != sizes => {
            invalid(format!("kernel_shape {given:?} for a weight of {}", cx.ty(w)))
        }
        _ => Ok(sizes),
    }
}

pub(super) fn conv(cx: &mut Context) -> Built {
    let (x, w, bias) = (cx.operand(0)?, cx.operand(1)?, cx.operand_if(2)?);
    convolved(cx, x, w, bias)
}

/// A convolution with the node's attributes.
pub(super) fn convolved(cx: &mut Context, x: Value, w: Value, bias: Option<Value>) -> Built {
    let kernel = kernel_of(cx, w)?;
    let Windows { strides, pads, dilations, .. } = Windows::read(cx, x, kernel)?;
    let group = cx.int("group", 1)?;
    let operands: Vec<Value> = [x, w].into_iter().chain(bias).collect();
    cx.add(Op::Conv { strides, pads, dilations, group }, &operands)
}

fn conv_transpose(cx: &mut Context) -> Built {
    let (bias, pads) = (cx.operand_if(2)?, cx.ints("pads")?);
    transposed(cx, bias, pads)
}

/// A transposed convolution of the first two operands with the node's other attributes.
pub(super) fn transposed(cx: &mut Context, bias: Option<Value>, pads: Option<Vec<i64>>) -> Built {
    let (x, w) = (cx.operand(0)?, cx.operand(1)?);
    let kernel = kernel_of(cx, w)?;
    let n = kernel.len();
    let auto = cx.string("auto_pad", "NOTSET")?;
    let strides = cx.ints("strides")?.unwrap_or_else(|| vec![1; n]);
    let dilations = cx.ints("dilations")?.unwrap_or_else(|| vec![1; n]);
    let mut pads = pads.filter(|p| !p.is_empty()).unwrap_or_else(|| vec![0; 2 * n]);
    let mut output_padding =
        cx.ints("output_padding")?.filter(|p| !p.is_empty()).unwrap_or_else(|| vec![0; n]);
    if [strides.len(), dilations.len(), output_padding.len()] != [n; 3] || pads.len() != 2 * n {
        return invalid("attributes for different numbers of axes");
    }
    if strides.iter().chain(&dilations).chain(&kernel).any(|n| !(1..1 << 31).contains(n)) {
        return invalid("sizes, strides or dilations below 1 or beyond reason");
    }
    let spatial: Vec<Dim> = cx.shape(x).get(2..).unwrap_or_default().to_vec();
    if spatial.len() != n {
        return invalid(format!("a kernel of {n} axes over {}", cx.ty(x)));
    }
    let group = cx.int("group", 1)?;
    let sizes = match (cx.ints("output_shape")?, auto.as_str()) {
        (Some(sizes), _) => {
            Some(sizes[sizes.len().saturating_sub(n)..].iter().map(|&s| Dim::from(s)).collect())
        }
        (None, "SAME_UPPER" | "SAME_LOWER") => {
            Some(spatial.iter().zip(&strides).map(|(d, &s)| d * s).collect::<Vec<Dim>>())
        }
        _ => None,
    };
    for (i, size) in sizes.iter().flatten().enumerate() {
        // What the padding has to take away so that the result has the wanted size.
        let whole = (&spatial[i] - 1) * strides[i] + ((kernel[i] - 1) * dilations[i] + 1) + output_padding[i];
        let Some(total) = (whole - size).known() else {
            return unsupported("an output shape that fixes a symbolic size");
        };
        output_padding[i] += (-total).max(0);
        let (total, half) = (total.max(0), total.max(0) / 2);
        let (before, after) = if auto == "SAME_UPPER" { (half, total - half) } else { (total - half, half) };
        (pads[i], pads[i + n]) = (before, after);
    }
    let operands: Vec<Value> = [x, w].into_iter().chain(bias).collect();
    cx.add(Op::ConvTranspose { strides, pads, dilations, output_padding, group }, &operands)
}

fn deform_conv(cx: &mut Context) -> Built {
    let (x, w, offset) = (cx.operand(0)?, cx.operand(1)?, cx.operand(2)?);
    let kernel = kernel_of(cx, w)?;
    let Windows { strides, pads, dilations, .. } = Windows::read(cx, x, kernel)?;
    let (group, offset_group) = (cx.int("group", 1)?, cx.int("offset_group", 1)?);
    let mut operands = vec![x, w, offset];
    match (cx.operand_if(3)?, cx.operand_if(4)?) {
        (None, None) => {}
        (Some(bias), None) => operands.push(bias),
        (Some(bias), Some(mask)) => operands.extend([bias, mask]),
        (None, Some(mask)) => {
            let (zero, channels) = (cx.like(x, 0.0), cx.shape(w)[0].clone());
            operands.extend([cx.expand(zero, vec![channels])?, mask]);
        }
    }
    cx.add(Op::DeformConv { strides, pads, dilations, group, offset_group }, &operands)
}

/// Sums the columns of blocks at their places of an image. The blocks may lie in the padding around it,
/// which is cut off in the end.
fn col2im(cx: &mut Context) -> Built {
    let (x, image, block) = (cx.operand(0)?, cx.operand(1)?, cx.operand(2)?);
    let x = cx.ranked(x, 3)?;
    let (image, block) = (cx.shape_from(image)?, cx.shape_from(block)?);
    let n = image.len();
    let strides = cx.ints("strides")?.unwrap_or_else(|| vec![1; n]);
    let dilations = cx.ints("dilations")?.unwrap_or_else(|| vec![1; n]);
    let pads = cx.ints("pads")?.filter(|p| !p.is_empty()).unwrap_or_else(|| vec![0; 2 * n]);
    if [block.len(), strides.len(), dilations.len()] != [n; 3] || pads.len() != 2 * n || n == 0 {
        return invalid("sizes and attributes for different numbers of axes");
    }
    if strides.iter().chain(&dilations).any(|n| !(1..1 << 31).contains(n))
        || pads.iter().any(|n| !(0..1 << 31).contains(n))
    {
        return invalid("pads, strides or dilations beyond reason");
    }
    let whole: Vec<Dim> = (0..n).map(|i| &image[i] + pads[i] + pads[i + n]).collect();
    // For every element of a column and every block the place in the padded image.
    let mut places = cx.int_scalar(0);
    for i in 0..n {
        let reach = (&block[i] - 1) * dilations[i] + 1;
        let blocks = (&whole[i] - reach).floor_div(strides[i]) + 1;
        let inside = cx.iota(block[i].clone(), DType::I64, i, 2 * n)?;
        let first = cx.iota(blocks, DType::I64, n + i, 2 * n)?;
        let (inside, first) =
            (cx.times_number(inside, dilations[i] as f64)?, cx.times_number(first, strides[i] as f64)?);
        let at = cx.plus(inside, first)?;
        let size = cx.dim(whole[i].clone(), DType::I64)?;
        places = cx.times(places, size)?;
        places = cx.plus(places, at)?;
    }
    let taps = Dim::product(&block);
    let shape = cx.shape(x);
    let channels = match shape[1].exact_div(&taps) {
        Some(channels) => channels,
        None => shape[1].floor_div(&taps),
    };
    let (columns, planes) = (&taps * &shape[2], &shape[0] * &channels);
    let places = cx.reshape(places, vec![columns.clone(), Dim::ONE])?;
    let values = cx.reshape(x, vec![planes.clone(), columns])?;
    let values = cx.transpose(values, &[1, 0])?;
    let zero = cx.like(x, 0.0);
    let empty = cx.expand(zero, vec![Dim::product(&whole), planes])?;
    let op = Op::ScatterNd { reduction: cx.reduction("add")? };
    let summed = cx.add(op, &[empty, places, values])?;
    let summed = cx.transpose(summed, &[1, 0])?;
    let mut y = cx.reshape(summed, [vec![shape[0].clone(), channels], whole].concat())?;
    for i in 0..n {
        y = cx.slice_axis(y, 2 + i, Dim::from(pads[i]), image[i].clone(), 1)?;
    }
    Ok(y)
}

fn pool(cx: &Context, x: Value) -> Built<(Windows, bool)> {
    let kernel = cx.ints("kernel_shape")?.ok_or("the attribute `kernel_shape` is missing")?;
    let windows = Windows::read(cx, x, kernel)?;
    Ok((windows, cx.flag("ceil_mode", false)?))
}

fn max_pool(cx: &mut Context) -> Built<Vec<Value>> {
    let x = cx.operand(0)?;
    let (Windows { kernel, strides, pads, dilations }, ceil) = pool(cx, x)?;
    if !cx.wants(1) {
        return Ok(vec![cx.add(Op::MaxPool { kernel, strides, pads, dilations, ceil }, &[x])?]);
    }
    let column_major = cx.flag("storage_order", false)?;
    let v = cx.add(Op::MaxPoolIndices { kernel, strides, pads, dilations, ceil, column_major }, &[x])?;
    Ok(vec![v, v.port(1)])
}

/// The maxima of windows with the node's attributes.
pub(super) fn pooled_max(cx: &mut Context, x: Value) -> Built {
    let (Windows { kernel, strides, pads, dilations }, ceil) = pool(cx, x)?;
    cx.add(Op::MaxPool { kernel, strides, pads, dilations, ceil }, &[x])
}

fn average_pool(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    pooled_average(cx, x)
}

/// The means of windows with the node's attributes.
pub(super) fn pooled_average(cx: &mut Context, x: Value) -> Built {
    let (Windows { kernel, strides, pads, dilations }, ceil) = pool(cx, x)?;
    let count_include_pad = cx.flag("count_include_pad", false)?;
    cx.add(Op::AvgPool { kernel, strides, pads, dilations, ceil, count_include_pad }, &[x])
}

fn lp_pool(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    let (Windows { kernel, strides, pads, dilations }, ceil) = pool(cx, x)?;
    let p = cx.int("p", 2)?;
    cx.add(Op::LpPool { kernel, strides, pads, dilations, ceil, p }, &[x])
}

/// A reduction of all spatial axes.
fn global(cx: &mut Context, f: fn(&mut Context, Value, &[usize]) -> Built) -> Built {
    let x = cx.operand(0)?;
    let axes: Vec<usize> = (2..cx.rank(x)).collect();
    f(cx, x, &axes)
}

fn global_lp_pool(cx: &mut Context) -> Built {
    let p = cx.int("p", 2)? as f64;
    let x = cx.operand(0)?;
    let axes: Vec<usize> = (2..cx.rank(x)).collect();
    lp_norm(cx, x, &axes, p)
}

/// `(Σ |x|^p)^(1/p)`; the axes stay as 1.
pub(super) fn lp_norm(cx: &mut Context, x: Value, axes: &[usize], p: f64) -> Built {
    let size = cx.abs(x)?;
    if p == 1.0 {
        return cx.reduce_sum(size, axes);
    }
    if p == 2.0 {
        let square = cx.times(x, x)?;
        let sum = cx.reduce_sum(square, axes)?;
        return cx.sqrt(sum);
    }
    let (by, root) = (cx.like(x, p), cx.like(x, 1.0 / p));
    let power = cx.pow(size, by)?;
    let sum = cx.reduce_sum(power, axes)?;
    cx.pow(sum, root)
}

/// Puts every element at its place of a tensor of zeros.
fn max_unpool(cx: &mut Context) -> Built {
    let (x, indices) = (cx.operand(0)?, cx.operand(1)?);
    let kernel = cx.ints("kernel_shape")?.ok_or("the attribute `kernel_shape` is missing")?;
    let windows = Windows::read(cx, x, kernel)?;
    let mut shape = cx.shape(x);
    let n = windows.kernel.len();
    for i in 0..n {
        let pads = windows.pads[i] + windows.pads[i + n];
        shape[i + 2] = (&shape[i + 2] - 1) * windows.strides[i] + windows.kernel[i] - pads;
    }
    let inner = shape.clone();
    if let Some(list) = cx.operand_if(2)? {
        shape = cx.shape_from(list)?;
    }
    if shape.len() != inner.len() {
        return invalid(format!("an output shape of {} axes", shape.len()));
    }
    // The places count in the shape that the pool was applied to.
    let zero = cx.like(x, 0.0);
    let flat = Dim::product(&inner);
    let zeros = cx.expand(zero, vec![flat.clone()])?;
    let count = cx.ty(x).elements();
    let (values, places) = (cx.reshape(x, vec![count.clone()])?, cx.reshape(indices, vec![count])?);
    let op = Op::ScatterElements { axis: 0, reduction: cx.reduction("none")? };
    let filled = cx.add(op, &[zeros, places, values])?;
    let filled = cx.reshape(filled, inner.clone())?;
    let after = shape.iter().zip(&inner).map(|(to, from)| to - from).collect();
    if shape == inner {
        return Ok(filled);
    }
    cx.add(Op::Pad { before: vec![Dim::ZERO; shape.len()], after, mode: Default::default() }, &[filled, zero])
}
