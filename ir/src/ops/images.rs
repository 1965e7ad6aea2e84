//! Pictures: what their bytes mean is `sardonyx_values`, which the runtime calls too.
use super::attribute::PixelForm;
use super::{Definition, Op};
use crate::types::Type;
use sardonyx_tensor::{DType, Dim};
use sardonyx_values::{self as values, Pixels};

fn pixels(form: PixelForm) -> Pixels {
    match form {
        PixelForm::Rgb => Pixels::Rgb,
        PixelForm::Bgr => Pixels::Bgr,
        PixelForm::Gray => Pixels::Gray,
    }
}

pub(super) const DECODE: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, ImageDecode { form, height, width });
        let x = cx.operand(0);
        if x.dtype != DType::U8 || x.rank() != 1 {
            return Err(format!("{x}: u8[n], the bytes of a file, are needed"));
        }
        let channels = Dim::from(pixels(*form).channels());
        Ok(vec![Type::new(DType::U8, [height.clone(), width.clone(), channels])])
    },
    eval: |op, x, _| {
        attributes!(op, ImageDecode { form });
        Ok(vec![values::decode_image(&x[0], pixels(*form))?])
    },
};
