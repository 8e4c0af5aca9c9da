//! Small images within the page: PNG, written out in base 64.

use crate::Html;

/// An image: `[channels, height, width]` values in [0, 1], one channel or three.
#[derive(Clone, Debug)]
pub struct Pixels {
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// Values by channel, row and column.
    pub values: Vec<f32>,
}

impl Pixels {
    /// What changed from this image to another, so many times enlarged, about a middle grey; what exceeds the range is cut.
    #[must_use]
    pub fn change_to(&self, other: &Self, times: f32) -> Self {
        let pairs = self.values.iter().zip(&other.values);
        let values = pairs.map(|(from, to)| (0.5 + times * (to - from)).clamp(0.0, 1.0)).collect();
        Self { shape: self.shape, values }
    }

    /// As a PNG file of eight bits a value.
    ///
    /// # Panics
    /// On other channels than one or three, and on another number of values than the shape says.
    fn png(&self) -> Vec<u8> {
        let [channels, height, width] = self.shape;
        let pixels = height * width;
        assert_eq!(self.values.len(), channels * pixels, "an image has as many values as its shape says");
        let byte = |value: f32| (value.clamp(0.0, 1.0) * 255.0).round() as u8;
        let bytes: Vec<u8> = (0..pixels)
            .flat_map(|place| (0..channels).map(move |channel| channel * pixels + place))
            .map(|place| byte(self.values[place]))
            .collect();
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width as u32, height as u32);
        encoder.set_color(match channels {
            1 => png::ColorType::Grayscale,
            3 => png::ColorType::Rgb,
            _ => panic!("an image has one channel or three, this has {channels}"),
        });
        let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&bytes));
        written.expect("a vector takes any image");
        file
    }
}

/// An image on the page; the words say to those who cannot see it what is on it.
pub fn picture(pixels: &Pixels, words: &str) -> Html {
    let source = format!("data:image/png;base64,{}", base64(&pixels.png()));
    Html::void("img", &[("src", &source), ("alt", words), ("class", "pixels")])
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= group.len() { digit as char } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vectors of RFC 4648, section 10.
    #[test]
    fn base_64_is_that_of_its_standard() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xbf]), "+/+/");
    }

    #[test]
    fn a_png_holds_the_pixels_interleaved_and_a_change_is_about_the_middle() {
        let shape = [3, 1, 2];
        let image = Pixels { shape, values: vec![0.0, 1.0, 0.2, 0.4, 0.6, 0.8] };
        let decoder = png::Decoder::new(std::io::Cursor::new(image.png()));
        let mut reader = decoder.read_info().unwrap();
        let mut bytes = vec![0; 6];
        reader.next_frame(&mut bytes).unwrap();
        assert_eq!(bytes, [0, 51, 153, 255, 102, 204]);
        let moved = Pixels { shape, values: vec![0.01, 0.98, 0.2, 0.4, 0.6, 0.7] };
        let change = image.change_to(&moved, 10.0).values;
        for (found, wanted) in change.iter().zip([0.6, 0.3, 0.5, 0.5, 0.5, 0.0]) {
            assert!((found - wanted).abs() < 1e-5, "{change:?}");
        }
    }
}
