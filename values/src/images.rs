//! Pictures in the formats of image files, as bytes of their channels.
//!
//! The decoders stand behind the feature `images`: a program without pictures needs none of them.

use sardonyx_tensor::Tensor;

/// What a pixel becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pixels {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// Its luma after ITU-R BT.601.
    Gray,
}

impl Pixels {
    /// By its name: `rgb`, `bgr`, `gray`.
    pub fn named(name: &str) -> Option<Pixels> {
        Some(match name {
            "rgb" => Pixels::Rgb,
            "bgr" => Pixels::Bgr,
            "gray" => Pixels::Gray,
            _ => return None,
        })
    }
    /// How many bytes a pixel becomes.
    pub fn channels(self) -> usize {
        if self == Pixels::Gray { 1 } else { 3 }
    }
}

/// The picture in the bytes of a file `[n]` (BMP, JPEG, JPEG 2000, PNG, PNM, TIFF or WebP), `[height, width, channels]`;
/// what is transparent is left as opaque. Bytes that are no picture give one without rows and columns, as ONNX asks.
///
/// # Errors
/// When a picture has more than 2^16 rows or columns or 2^27 pixels; without the feature `images` always.
pub fn decode_image(bytes: &Tensor, pixels: Pixels) -> Result<Tensor, String> {
    let (height, width, rgb) = decoded(bytes.bytes())?.unwrap_or_default();
    let gray = |p: &[u8]| {
        let weighted = 19595 * u32::from(p[0]) + 38470 * u32::from(p[1]) + 7471 * u32::from(p[2]);
        ((weighted + (1 << 15)) >> 16) as u8
    };
    let all: Vec<u8> = match pixels {
        Pixels::Rgb => rgb,
        Pixels::Bgr => rgb.chunks_exact(3).flat_map(|p| [p[2], p[1], p[0]]).collect(),
        Pixels::Gray => rgb.chunks_exact(3).map(gray).collect(),
    };
    Tensor::new(sardonyx_tensor::DType::U8, [height, width, pixels.channels()], all)
        .map_err(|e| e.to_string())
}

/// Height, width, and red, green and blue of all pixels.
type Decoded = (usize, usize, Vec<u8>);

#[cfg(not(feature = "images"))]
fn decoded(_: &[u8]) -> Result<Option<Decoded>, String> {
    Err("this runtime was built without decoders of images: build sardonyx-runtime with its feature `images`"
        .into())
}

/// The pixels; none where the bytes are no picture.
#[cfg(feature = "images")]
fn decoded(bytes: &[u8]) -> Result<Option<Decoded>, String> {
    if bytes.starts_with(b"\x00\x00\x00\x0cjP  ") || bytes.starts_with(b"\xff\x4f\xff\x51") {
        return jpeg_2000(bytes);
    }
    let reader = || image::ImageReader::new(std::io::Cursor::new(bytes)).with_guessed_format().ok();
    let Some((width, height)) = reader().and_then(|reader| reader.into_dimensions().ok()) else {
        return Ok(None);
    };
    check_size(width, height)?;
    let decode = |mut reader: image::ImageReader<_>| {
        let mut limits = image::Limits::default();
        limits.max_alloc = Some(MAX_PIXELS * 8);
        reader.limits(limits);
        reader.decode().ok()
    };
    let picture = reader().and_then(decode);
    Ok(picture.map(|picture| (height as usize, width as usize, picture.to_rgb8().into_raw())))
}

/// The most pixels.
#[cfg(feature = "images")]
const MAX_PIXELS: u64 = 1 << 27;

/// Fails where a picture is larger than what is decoded here.
#[cfg(feature = "images")]
fn check_size(width: u32, height: u32) -> Result<(), String> {
    /// The most rows or columns.
    const MAX_SIDE: u32 = 1 << 16;
    let fits = width.max(height) <= MAX_SIDE && u64::from(width) * u64::from(height) <= MAX_PIXELS;
    if fits { Ok(()) } else { Err(format!("a picture of {width} by {height} pixels is too large")) }
}

#[cfg(feature = "images")]
fn jpeg_2000(bytes: &[u8]) -> Result<Option<Decoded>, String> {
    use hayro_jpeg2000::{ColorSpace, DecodeSettings, DecoderContext, Image};
    let Ok(image) = Image::new(bytes, &DecodeSettings::default()) else { return Ok(None) };
    let (width, height) = (image.width(), image.height());
    check_size(width, height)?;
    let channels = usize::from(image.color_space().num_channels()) + usize::from(image.has_alpha());
    let gray = matches!(image.color_space(), ColorSpace::Gray);
    let area = width as usize * height as usize;
    let mut context = DecoderContext::default();
    let Ok(picture) = image.decode(&mut context) else { return Ok(None) };
    let all = picture.data_u8();
    if all.len() != area * channels || (!gray && image.color_space().num_channels() != 3) {
        return Ok(None);
    }
    let rgb = |p: &[u8]| if gray { [p[0]; 3] } else { [p[0], p[1], p[2]] };
    Ok(Some((height as usize, width as usize, all.chunks_exact(channels).flat_map(rgb).collect())))
}

#[cfg(all(test, feature = "images"))]
mod tests {
    use super::*;

    fn bytes(all: &[u8]) -> Tensor {
        Tensor::from_slice([all.len()], all)
    }

    #[test]
    fn pixels_become_channels() {
        let file = bytes(b"P6\n2 1\n255\n\xff\x00\x00\x01\x02\x03");
        let of = |pixels| decode_image(&file, pixels).expect("a picture").bytes().to_vec();
        assert_eq!(of(Pixels::Rgb), [255, 0, 0, 1, 2, 3]);
        assert_eq!(of(Pixels::Bgr), [0, 0, 255, 3, 2, 1]);
        assert_eq!(of(Pixels::Gray), [76, 2]);
    }

    #[test]
    fn what_is_no_picture_or_too_large_is_told() {
        for broken in
            [&b""[..], b"P6\n2 1\n255\n\xff", b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\x89PNG\r\n\x1a\n"]
        {
            let none = decode_image(&bytes(broken), Pixels::Rgb).expect("no picture is no error");
            assert_eq!(none.shape(), [0, 0, 3]);
        }
        let large =
            decode_image(&bytes(b"P6\n65536 65536\n255\n"), Pixels::Rgb).expect_err("it is too large");
        assert!(large.contains("65536 by 65536"), "{large}");
    }
}
