use super::*;

/// Expects `f(x)` for every x, of one op with attributes.
fn unary(call: &str, f: impl Fn(f64) -> f64, xs: &[f64]) {
    let y = op(call, &[f32s(&[xs.len()], xs)]);
    let x: Vec<f64> = f32s(&[xs.len()], xs).to_f64s();
    check(&y, &[xs.len()], &x.iter().map(|&x| f(x)).collect::<Vec<_>>());
}

const ALL: &[f64] = &[-3.0, -1.5, -0.7, -0.0, 0.3, 0.9, 2.5, 4.0];
const UNIT: &[f64] = &[-0.9, -0.3, 0.0, 0.2, 0.99];
const ABOVE: &[f64] = &[1.0, 1.5, 3.0, 20.0];

#[test]
fn functions_of_one_number() {
    unary("neg(%a)", |x| -x, ALL);
    unary("abs(%a)", f64::abs, ALL);
    unary("sign(%a)", |x| if x == 0.0 { 0.0 } else { x.signum() }, ALL);
    unary("floor(%a)", f64::floor, ALL);
    unary("ceil(%a)", f64::ceil, ALL);
    unary("round(%a)", f64::round_ties_even, ALL);
    unary("reciprocal(%a)", |x| 1.0 / x, ABOVE);
    unary("sqrt(%a)", f64::sqrt, ABOVE);
    unary("rsqrt(%a)", |x| 1.0 / x.sqrt(), ABOVE);
    unary("exp(%a)", f64::exp, ALL);
    unary("log(%a)", f64::ln, ABOVE);
    unary("sin(%a)", f64::sin, ALL);
    unary("cos(%a)", f64::cos, ALL);
    unary("tan(%a)", f64::tan, ALL);
    unary("asin(%a)", f64::asin, UNIT);
    unary("acos(%a)", f64::acos, UNIT);
    unary("atan(%a)", f64::atan, ALL);
    unary("sinh(%a)", f64::sinh, ALL);
    unary("cosh(%a)", f64::cosh, ALL);
    unary("tanh(%a)", f64::tanh, ALL);
    unary("asinh(%a)", f64::asinh, ALL);
    unary("acosh(%a)", f64::acosh, ABOVE);
    unary("atanh(%a)", f64::atanh, UNIT);
    unary("erf(%a)", sardonyx_ir::erf::erf, ALL);
}

fn softplus(x: f64) -> f64 {
    (1.0 + x.exp()).ln()
}

#[test]
fn activations() {
    unary("relu(%a)", |x| x.max(0.0), ALL);
    unary("leaky_relu(%a) {alpha=0.1}", |x| if x < 0.0 { 0.1 * x } else { x }, ALL);
    unary("thresholded_relu(%a) {alpha=0.5}", |x| if x > 0.5 { x } else { 0.0 }, ALL);
    unary("elu(%a) {alpha=2.0}", |x| if x < 0.0 { 2.0 * (x.exp() - 1.0) } else { x }, ALL);
    unary("selu(%a) {alpha=2.0, gamma=3.0}", |x| 3.0 * if x > 0.0 { x } else { 2.0 * x.exp() - 2.0 }, ALL);
    unary("celu(%a) {alpha=2.0}", |x| x.max(0.0) + (2.0 * ((x / 2.0).exp() - 1.0)).min(0.0), ALL);
    unary("sigmoid(%a)", |x| 1.0 / (1.0 + (-x).exp()), ALL);
    unary("hard_sigmoid(%a) {alpha=0.5, beta=0.6}", |x| (0.5 * x + 0.6).clamp(0.0, 1.0), ALL);
    unary("hard_swish(%a)", |x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0), ALL);
    unary("softplus(%a)", softplus, ALL);
    unary("softsign(%a)", |x| x / (1.0 + x.abs()), ALL);
    unary("silu(%a)", |x| x / (1.0 + (-x).exp()), ALL);
    unary("silu(%a) {alpha=1.702}", |x| x / (1.0 + (-1.702 * x).exp()), ALL);
    unary("mish(%a)", |x| x * softplus(x).tanh(), ALL);
    unary("gelu(%a)", |x| 0.5 * x * (1.0 + sardonyx_ir::erf::erf(x / 2f64.sqrt())), ALL);
    let tanh =
        |x: f64| 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh());
    unary("gelu_tanh(%a)", tanh, ALL);
    let shrink = |x: f64| {
        if x < -1.0 {
            x + 0.5
        } else if x > 1.0 {
            x - 0.5
        } else {
            0.0
        }
    };
    unary("shrink(%a) {bias=0.5, lambda=1.0}", shrink, ALL);
    unary("clip(%a) {min=-1.0, max=2.0}", |x| x.clamp(-1.0, 2.0), ALL);
    unary("softplus(%a)", |x| x, &[200.0]);
}

fn integers(call: &str, a: &[i64], b: &[i64], expected: &[i64]) {
    let y = op(call, &[i64s(&[a.len()], a), i64s(&[b.len()], b)]);
    assert_eq!(y.to_i64s(), expected, "{call}");
}

#[test]
fn functions_of_two_integers() {
    let (a, b) = (&[7, -7, 7, -7, 1][..], &[2, 2, -2, -2, 0][..]);
    integers("add(%a, %b)", a, b, &[9, -5, 5, -9, 1]);
    integers("sub(%a, %b)", a, b, &[5, -9, 9, -5, 1]);
    integers("mul(%a, %b)", a, b, &[14, -14, -14, 14, 0]);
    integers("div(%a, %b)", a, b, &[3, -3, -3, 3, 0]);
    integers("modulo(%a, %b)", a, b, &[1, 1, -1, -1, 0]);
    integers("rem(%a, %b)", a, b, &[1, -1, 1, -1, 0]);
    integers("pow(%a, %b)", &[3, -2, 5], &[4, 3, 0], &[81, -8, 1]);
    integers("min(%a, %b)", a, b, &[2, -7, -2, -7, 0]);
    integers("max(%a, %b)", a, b, &[7, 2, 7, -2, 1]);
    integers("and(%a, %b)", &[12, -1], &[10, 5], &[8, 5]);
    integers("or(%a, %b)", &[12, -1], &[10, 5], &[14, -1]);
    integers("xor(%a, %b)", &[12, -1], &[10, 5], &[6, -6]);
    integers("shift_left(%a, %b)", &[1, 3], &[4, 64], &[16, 0]);
    integers("shift_right(%a, %b)", &[17, 3], &[4, 64], &[1, 0]);
    integers("eq(%a, %b)", &[1, 2], &[1, 3], &[1, 0]);
    integers("lt(%a, %b)", &[1, 2, 3], &[2, 2, 2], &[1, 0, 0]);
    integers("le(%a, %b)", &[1, 2, 3], &[2, 2, 2], &[1, 1, 0]);
    integers("gt(%a, %b)", &[1, 2, 3], &[2, 2, 2], &[0, 0, 1]);
    integers("ge(%a, %b)", &[1, 2, 3], &[2, 2, 2], &[0, 1, 1]);
    let x = Tensor::from_slice([2], &[250u8, 1]);
    assert_eq!(op("add(%a, %a)", std::slice::from_ref(&x)).to_i64s(), [244, 2]);
    assert_eq!(op("not(%a)", std::slice::from_ref(&x)).to_i64s(), [5, 254]);
    assert_eq!(op("not(%a)", &[Tensor::from_slice([2], &[true, false])]).to_i64s(), [0, 1]);
    assert_eq!(op("shift_left(%a, %b)", &[x, Tensor::from_slice([], &[1u8])]).to_i64s(), [244, 2]);
}

#[test]
fn functions_of_floats_at_the_edges() {
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let x = f32s(&[4], &[nan, 1.0, -inf, 0.0]);
    let y = f32s(&[4], &[1.0, nan, 2.0, -0.0]);
    check(&op("min(%a, %b)", &[x.clone(), y.clone()]), &[4], &[nan, nan, -inf, 0.0]);
    check(&op("max(%a, %b)", &[x.clone(), y.clone()]), &[4], &[nan, nan, 2.0, 0.0]);
    assert_eq!(op("is_nan(%a)", std::slice::from_ref(&x)).to_i64s(), [1, 0, 0, 0]);
    assert_eq!(op("is_inf(%a)", std::slice::from_ref(&x)).to_i64s(), [0, 0, 1, 0]);
    assert_eq!(op("eq(%a, %b)", &[x, y]).to_i64s(), [0, 0, 0, 1]);
    let (a, b) = (f32s(&[3], &[5.5, -5.5, 5.5]), f32s(&[3], &[2.0, 2.0, -2.0]));
    check(&op("modulo(%a, %b)", &[a.clone(), b.clone()]), &[3], &[1.5, 0.5, -0.5]);
    check(&op("rem(%a, %b)", &[a.clone(), b.clone()]), &[3], &[1.5, -1.5, 1.5]);
    check(&op("pow(%a, %b)", &[b, f32s(&[], &[3.0])]), &[3], &[8.0, 8.0, -8.0]);
    check(&op("div(%a, 0.0)", &[a]), &[3], &[inf, -inf, inf]);
}

#[test]
fn choice_and_conversion() {
    let c = Tensor::from_slice([2, 1], &[true, false]);
    let y = op("select(%a, %b, %c)", &[c, f32s(&[2], &[1., 2.]), f32s(&[], &[9.])]);
    check(&y, &[2, 2], &[1., 2., 9., 9.]);
    check(
        &op("prelu(%a, %b)", &[f32s(&[2, 2], &[-1., 1., -2., 2.]), f32s(&[2, 1], &[0.5, 0.25])]),
        &[2, 2],
        &[-0.5, 1., -0.5, 2.],
    );
    let x = f32s(&[5], &[-1.9, 1.9, 300.0, f64::NAN, 0.0]);
    assert_eq!(op("cast(%a) {to=i64}", std::slice::from_ref(&x)).to_i64s(), [-1, 1, 300, 0, 0]);
    assert_eq!(op("cast(%a) {to=bool}", &[x]).to_i64s(), [1, 1, 1, 1, 0]);
    let y = op("cast(%a) {to=f16}", &[f32s(&[2], &[1.0002, 1e6])]);
    assert_eq!((y.dtype(), y.to_f64s()), (DType::F16, vec![1.0, f64::INFINITY]));
    assert_eq!(op("cast(%a) {to=i8}", &[i64s(&[2], &[200, -3])]).to_i64s(), [-56, -3]);
}
