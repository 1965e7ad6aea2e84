//! Images, signals and random numbers.

use super::case::Case;
use super::{LAST, list, op, scalar};
use sardonyx_tensor::DType::{F32, I32};
use sardonyx_tensor::Tensor;

fn resizes() -> Vec<Case> {
    let scales = || Tensor::from_slice([4], &[1.0f32, 1.0, 2.0, 1.5]);
    let fewer = || Tensor::from_slice([4], &[1.0f32, 1.0, 0.6, 0.5]);
    let image = |c: Case| c.x(F32, &[1, 2, 5, 6]);
    let mut all = Vec::new();
    for mode in ["nearest", "linear"] {
        // Scales became an operand with version 9, and the operator another with version 10.
        let by = op("Upsample", 7, 8).text("mode", mode).floats("scales", &[1.0, 1.0, 2.0, 1.5]);
        all.push(image(by).out(F32));
        all.push(image(op("Upsample", 9, 9).text("mode", mode)).constant(scales()).out(F32));
        all.push(image(op("Resize", 10, 10).text("mode", mode)).constant(scales()).out(F32));
        all.push(image(op("Resize", 10, 10).text("mode", mode)).constant(fewer()).out(F32));
    }
    for mode in ["nearest", "linear", "cubic"] {
        let case = |since: i64| image(op("Resize", since, LAST).text("mode", mode));
        for by in [scales(), fewer()] {
            all.push(case(13).none().constant(by.clone()).out(F32));
            // The region of interest is an operand that cannot be left out in version 11.
            all.push(case(11).constant(Tensor::from_slice([0], &[0f32; 0])).constant(by).out(F32));
        }
        all.push(case(13).none().none().constant(list(&[1, 2, 3, 9])).out(F32));
        for how in ["align_corners", "asymmetric", "pytorch_half_pixel"] {
            let case = case(13).text("coordinate_transformation_mode", how);
            all.push(case.none().none().constant(list(&[1, 2, 8, 3])).out(F32));
        }
        let some = || image(op("Resize", 18, LAST).text("mode", mode).ints("axes", &[2, 3])).none().none();
        all.push(some().constant(list(&[8, 3])).out(F32));
        for policy in ["not_larger", "not_smaller"] {
            all.push(some().constant(list(&[8, 3])).text("keep_aspect_ratio_policy", policy).out(F32));
        }
        if mode != "nearest" {
            let smooth = op("Resize", 18, LAST).text("mode", mode).int("antialias", 1);
            all.push(image(smooth).none().constant(fewer()).out(F32).within(1e-5, 1e-4));
        }
        let half = op("Resize", 19, LAST).text("mode", mode);
        let half = half.text("coordinate_transformation_mode", "half_pixel_symmetric");
        all.push(image(half).none().constant(fewer()).out(F32));
    }
    for nearest in ["floor", "ceil", "round_prefer_ceil"] {
        let case = op("Resize", 11, LAST).text("nearest_mode", nearest);
        // ONNX Runtime computes places in singles: no scale here leads to one that is nearly whole.
        let by = Tensor::from_slice([4], &[1.0f32, 1.0, 0.75, 0.5]);
        all.push(image(case).constant(Tensor::from_slice([0], &[0f32; 0])).constant(by).out(F32));
    }
    let crop = op("Resize", 11, LAST).text("mode", "linear").float("extrapolation_value", 7.0);
    let region = Tensor::from_slice([8], &[0.0f32, 0.0, 0.2, 0.1, 1.0, 1.0, 0.9, 1.2]);
    let crop = image(crop.text("coordinate_transformation_mode", "tf_crop_and_resize")).constant(region);
    all.push(crop.constant(scales()).out(F32));
    all
}

fn grids() -> Vec<Case> {
    let grid = || Tensor::from_f64s(F32, [1, 2, 3, 2], (0..12).map(|i| f64::from(i * 5 % 12) / 5.0 - 1.2));
    let case =
        |since, until, mode: &str| op("GridSample", since, until).text("mode", mode).x(F32, &[1, 2, 4, 5]);
    let mut all = Vec::new();
    // Modes have other names since version 20.
    for (old, new) in [("bilinear", "linear"), ("bicubic", "cubic"), ("nearest", "nearest")] {
        for padding in ["zeros", "border", "reflection"] {
            all.push(case(16, 19, old).text("padding_mode", padding).input(grid()).out(F32));
            let aligned = case(20, LAST, new).int("align_corners", 1);
            all.push(aligned.text("padding_mode", padding).input(grid()).out(F32));
        }
    }
    let grid = Tensor::from_f64s(F32, [1, 2, 2, 2, 3], (0..24).map(|i| f64::from(i * 5 % 24) / 12.0 - 1.0));
    all.push(op("GridSample", 20, LAST).x(F32, &[1, 1, 3, 3, 3]).input(grid).out(F32));
    for corners in [0, 1] {
        let c = op("AffineGrid", 20, LAST).int("align_corners", corners).x(F32, &[2, 2, 3]);
        all.push(c.constant(list(&[2, 3, 4, 5])).out(F32));
    }
    all
}

fn signals() -> Vec<Case> {
    let whole = |x: i64| Tensor::from_slice([], &[x]);
    let mut all = vec![
        // The axis became an operand with version 20.
        op("DFT", 17, 19).x(F32, &[1, 5, 1]).out(F32),
        op("DFT", 17, 19).int("axis", 2).x(F32, &[1, 3, 4, 2]).out(F32),
        op("DFT", 17, 19).int("onesided", 1).x(F32, &[1, 6, 1]).constant(whole(8)).out(F32),
        op("DFT", 17, 19).int("inverse", 1).x(F32, &[1, 4, 2]).out(F32),
        op("DFT", 20, LAST).x(F32, &[1, 5, 1]).out(F32),
        op("DFT", 20, LAST).x(F32, &[1, 3, 4, 2]).none().constant(whole(-3)).out(F32),
        op("DFT", 20, LAST).int("onesided", 1).x(F32, &[1, 6, 1]).constant(whole(8)).out(F32),
        op("DFT", 20, LAST).int("inverse", 1).x(F32, &[1, 4, 2]).out(F32),
        op("STFT", 17, LAST).x(F32, &[1, 16, 1]).constant(whole(4)).w(F32, &[8]).constant(whole(8)).out(F32),
        op("STFT", 17, LAST).int("onesided", 0).x(F32, &[1, 16, 1]).constant(whole(4)).w(F32, &[8]).out(F32),
        op("MelWeightMatrix", 17, LAST)
            .constant(whole(4))
            .constant(whole(16))
            .constant(whole(8192))
            .constant(scalar(0.0))
            .constant(scalar(4096.0))
            .out(F32),
    ];
    for name in ["HannWindow", "HammingWindow", "BlackmanWindow"] {
        all.push(op(name, 17, LAST).constant(whole(7)).out(F32).within(1e-6, 1e-4));
        all.push(op(name, 17, LAST).int("periodic", 0).constant(whole(7)).out(F32).within(1e-6, 1e-4));
    }
    all
}

fn random() -> Vec<Case> {
    let mut all = Vec::new();
    for name in ["RandomNormal", "RandomUniform"] {
        all.push(op(name, 7, LAST).ints("shape", &[2, 3]).float("seed", 3.0).out(F32).random());
    }
    for name in ["RandomNormalLike", "RandomUniformLike"] {
        all.push(op(name, 7, LAST).float("seed", 3.0).x(F32, &[2, 3]).out(F32).random());
    }
    let chances = Tensor::from_slice([4], &[0.1f32, 0.9, 0.5, 0.0]);
    all.push(op("Bernoulli", 15, LAST).float("seed", 3.0).input(chances).out(F32).random());
    all.push(
        op("Multinomial", 7, LAST).int("sample_size", 3).float("seed", 3.0).x(F32, &[2, 4]).out(I32).random(),
    );
    let rate = Tensor::from_slice([], &[0.5f32]);
    let on = super::truth(true);
    let dropped = op("Dropout", 12, LAST).int("seed", 3).x(F32, &[2, 3]).constant(rate).constant(on);
    all.push(dropped.out(F32).random());
    all
}

pub fn cases() -> Vec<Case> {
    [resizes(), grids(), signals(), random()].into_iter().flatten().collect()
}
