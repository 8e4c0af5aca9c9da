//! Changes of place: where in the image each pixel of the result is taken from, the nearest one. Elsewhere it is black.

use crate::ImageShape;

/// The image of `source(y, x)`, or black where that lies outside.
fn taken(pixels: &[u8], shape: ImageShape, source: impl Fn(usize, usize) -> (isize, isize)) -> Vec<u8> {
    let ImageShape { height, width, channels } = shape;
    let mut out = vec![0; pixels.len()];
    for (place, pixel) in out.chunks_exact_mut(channels).enumerate() {
        let (y, x) = source(place / width, place % width);
        if (0..height as isize).contains(&y) && (0..width as isize).contains(&x) {
            let from = (y as usize * width + x as usize) * channels;
            pixel.copy_from_slice(&pixels[from..from + channels]);
        }
    }
    out
}

/// The image moved up and left.
pub(super) fn moved(pixels: &[u8], shape: ImageShape, up: isize, left: isize) -> Vec<u8> {
    taken(pixels, shape, |y, x| (y as isize + up, x as isize + left))
}

/// `transform(AFFINE, NEAREST)`: the result's (x, y) is the image's (a x + b y + c, d x + e y + f), at the centres of
/// pixels, in Pillow's fixed point of 16 bits.
pub(super) fn affine(pixels: &[u8], shape: ImageShape, [a, b, c, d, e, f]: [f64; 6]) -> Vec<u8> {
    let fixed = |value: f64| (value * 65_536.0 + 0.5).floor() as i64;
    let first = [fixed(c + a * 0.5 + b * 0.5), fixed(f + d * 0.5 + e * 0.5)];
    let (a, b, d, e) = (fixed(a), fixed(b), fixed(d), fixed(e));
    taken(pixels, shape, |y, x| {
        let (row, column) = (y as i64, x as i64);
        let from = [first[0] + column * a + row * b, first[1] + column * d + row * e];
        ((from[1] >> 16) as isize, (from[0] >> 16) as isize)
    })
}

/// `rotate(degrees)`. A sine that another machine's library rounds otherwise in its last bit is the same number here:
/// fifteen decimals of it are kept, then 16 bits.
pub(super) fn rotated(pixels: &[u8], shape: ImageShape, degrees: f64) -> Vec<u8> {
    let rounded = |value: f64| (value * 1e15).round() / 1e15;
    let angle = -degrees.to_radians();
    let (sine, cosine) = (rounded(angle.sin()), rounded(angle.cos()));
    let (x, y) = (shape.width as f64 / 2.0, shape.height as f64 / 2.0);
    let (left, up) = (x - (cosine * x + sine * y), y - (cosine * y - sine * x));
    affine(pixels, shape, [cosine, sine, left, -sine, cosine, up])
}

/// The image with a black rectangle.
pub(super) fn cut_out(
    pixels: &[u8],
    shape: ImageShape,
    rows: (usize, usize),
    columns: (usize, usize),
) -> Vec<u8> {
    let mut out = pixels.to_vec();
    let row = shape.width * shape.channels;
    let (left, right) = (columns.0.min(shape.width), columns.1.min(shape.width));
    for y in rows.0..rows.1.min(shape.height) {
        if left < right {
            out[y * row + left * shape.channels..y * row + right * shape.channels].fill(0);
        }
    }
    out
}
