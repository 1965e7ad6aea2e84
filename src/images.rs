//! Images as inputs of a model.
use crate::inputs::{Sizes, Wanted};
use image::DynamicImage;
use image::imageops::FilterType;
use sardonyx_tensor::{DType, Tensor};
use std::path::Path;

/// What a network wants of its images.
#[derive(Clone, Debug, Default)]
pub struct ImageForm {
    /// Whether channels are the last axis; otherwise they are the one before height and width.
    pub channels_last: bool,
    /// Subtracted from the channels, whose values are from 0 to 1: one number, or one per channel.
    pub mean: Vec<f32>,
    /// What the channels are divided by then.
    pub deviation: Vec<f32>,
}

/// Whether a file is one that [`read`] reads, by its name.
pub fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    matches!(extension.as_deref(), Some("png" | "jpg" | "jpeg"))
}

/// The image as a tensor for the input, of shape [1, channels, height, width] or [1, height, width, channels], without
/// the 1 where the input has rank 3. It is scaled (bilinear) where height and width are known, to 1 (grey), 3 (RGB) or 4
/// (RGBA) channels, 3 where the model leaves them open. Floats are (value / 255 - mean) / deviation; integers are the
/// image's own bytes, which neither mean nor deviation changes.
///
/// # Errors
/// What is wrong with the file, the input's shape, or the form.
pub fn read(path: &Path, input: &Wanted, sizes: &Sizes, form: &ImageForm) -> Result<Tensor, String> {
    let image = image::open(path).map_err(|e| e.to_string())?;
    let frame = Frame::of(input, sizes, form)?;
    let (height, width) = (
        frame.height.unwrap_or(u64::from(image.height())) as u32,
        frame.width.unwrap_or(u64::from(image.width())) as u32,
    );
    let image = match (image.width(), image.height()) == (width, height) {
        true => image,
        false => image.resize_exact(width, height, FilterType::Triangle),
    };
    let (bytes, channels) = pixels(&image, frame.channels)?;
    let (mean, deviation) =
        (per_channel("mean", &form.mean, channels)?, per_channel("std", &form.deviation, channels)?);
    if deviation.contains(&0.0) {
        return Err("--std divides by 0".into());
    }
    let area = (height as usize) * (width as usize);
    let at = |i: usize| match form.channels_last {
        true => (i, i % channels),
        false => (i % area * channels + i / area, i / area),
    };
    let mut shape = match form.channels_last {
        true => vec![1, height as usize, width as usize, channels],
        false => vec![1, channels, height as usize, width as usize],
    };
    if input.shape.len() == 3 {
        shape.remove(0);
    }
    let elements = (0..area * channels).map(at);
    Ok(match input.dtype.is_float() {
        true => Tensor::from_f64s(
            input.dtype,
            shape,
            elements.map(|(i, c)| f64::from((f32::from(bytes[i]) / 255.0 - mean[c]) / deviation[c])),
        ),
        false => Tensor::from_i128s(input.dtype, shape, elements.map(|(i, _)| i128::from(bytes[i]))),
    })
}

/// The sizes of an input that takes an image, where they are known.
struct Frame {
    channels: Option<u64>,
    height: Option<u64>,
    width: Option<u64>,
}

impl Frame {
    fn of(input: &Wanted, sizes: &Sizes, form: &ImageForm) -> Result<Frame, String> {
        let numeric = input.dtype.is_float() || matches!(input.dtype, DType::U8 | DType::I32 | DType::I64);
        let rank = input.shape.len();
        if !numeric || !(3..=4).contains(&rank) {
            return Err(format!(
                "an image cannot be the input `{}`, {}[{rank} axes]",
                input.name, input.dtype
            ));
        }
        let given = sizes.shapes.get(&input.name).filter(|shape| shape.len() == rank);
        let size = |axis: usize| -> Result<Option<u64>, String> {
            let known = match given {
                Some(shape) => Some(shape[axis]),
                None => {
                    let d = &input.shape[axis];
                    d.known().or_else(|| sizes.dims.get(d.as_symbol()?).copied())
                }
            };
            match known {
                Some(n) if !(1..=1 << 15).contains(&n) => {
                    Err(format!("an image cannot have axis {axis} of size {n} of the input `{}`", input.name))
                }
                known => Ok(known.map(|n| n as u64)),
            }
        };
        let first = rank - 3;
        let [channels, height, width] =
            if form.channels_last { [first + 2, first, first + 1] } else { [first, first + 1, first + 2] };
        Ok(Frame { channels: size(channels)?, height: size(height)?, width: size(width)? })
    }
}

/// The image's bytes, channels last, and how many channels there are.
fn pixels(image: &DynamicImage, channels: Option<u64>) -> Result<(Vec<u8>, usize), String> {
    match channels.unwrap_or(3) {
        1 => Ok((image.to_luma8().into_raw(), 1)),
        3 => Ok((image.to_rgb8().into_raw(), 3)),
        4 => Ok((image.to_rgba8().into_raw(), 4)),
        n => Err(format!("an image has 1, 3 or 4 channels, not {n}: is --image-layout right?")),
    }
}

fn per_channel(name: &str, given: &[f32], channels: usize) -> Result<Vec<f32>, String> {
    match given {
        [one] => Ok(vec![*one; channels]),
        all if all.len() == channels => Ok(all.to_vec()),
        all => Err(format!("--{name} has {} numbers for {channels} channels", all.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sardonyx_tensor::Dim;

    fn input(dtype: DType, shape: &[i64]) -> Wanted {
        let shape = shape.iter().map(|&n| Dim::from(n)).collect();
        Wanted { name: "x".into(), dtype, shape, bound: None }
    }

    #[test]
    fn channels_and_pixels_stand_where_the_layout_says() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("two.png");
        let mut image = image::RgbImage::new(2, 1);
        image.put_pixel(0, 0, image::Rgb([0, 51, 102]));
        image.put_pixel(1, 0, image::Rgb([153, 204, 255]));
        image.save(&path).expect("a writable folder");
        let form = |channels_last, deviation: &[f32]| ImageForm {
            channels_last,
            mean: vec![0.2],
            deviation: deviation.to_vec(),
        };
        let read = |w: &Wanted, f: &ImageForm| read(&path, w, &Sizes::default(), f);
        let close = |t: Tensor, wanted: [f64; 6]| {
            assert!(t.to_f64s().iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{t:?}")
        };
        let first = read(&input(DType::F32, &[1, 3, 1, 2]), &form(false, &[1.0])).expect("an image");
        close(first, [-0.2, 0.4, 0.0, 0.6, 0.2, 0.8]);
        let last = read(&input(DType::F32, &[1, 2, 3]), &form(true, &[1.0, 2.0, 4.0])).expect("an image");
        assert_eq!(last.shape(), &[1, 2, 3]);
        close(last, [-0.2, 0.0, 0.05, 0.4, 0.3, 0.2]);
        let bytes = read(&input(DType::U8, &[1, 3, 1, 2]), &form(false, &[1.0])).expect("an image");
        assert_eq!(bytes.to_i128s(), [0, 153, 51, 204, 102, 255]);
        let large = read(&input(DType::U8, &[1, 1, 4, 4]), &form(false, &[1.0])).expect("an image");
        assert_eq!(large.shape(), &[1, 1, 4, 4]);
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let sizes = Sizes::default();
        let missing =
            read(Path::new("nowhere.png"), &input(DType::F32, &[1, 3, 2, 2]), &sizes, &ImageForm::default());
        assert!(missing.is_err());
        let frame = |w: &Wanted| Frame::of(w, &sizes, &ImageForm::default()).err().unwrap_or_default();
        assert!(frame(&input(DType::F32, &[3, 4])).contains("2 axes"));
        assert!(frame(&input(DType::F32, &[1, 3, 0, 4])).contains("size 0"));
        assert!(frame(&input(DType::Bool, &[1, 3, 4, 4])).contains("bool"));
    }
}
