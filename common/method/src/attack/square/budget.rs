//! Square in l2: an image has a budget of change, its radius, and a query moves the share of one window to another.
//! Source: Andriushchenko et al., arXiv:1912.00049, section 3.4.

use crate::threat::Norm;

/// A peak and a valley side by side in a square of this side, of length 1: what is added where a window is filled.
///
/// Both fall off from their middle in rings: ring `r` of a half has the sum of `1 / (k + 1)^2` over all `k` from `r` on.
/// `is_turned` puts them beside each other, else the peak lies above. Row by row.
pub(super) fn bump(side: usize, is_turned: bool) -> Vec<f64> {
    let (above, below) = (half(side / 2, side), half(side - side / 2, side));
    let mut bump: Vec<f64> = above.into_iter().chain(below.into_iter().map(|value| -value)).collect();
    scale_to(1.0, &mut bump);
    if !is_turned {
        return bump;
    }
    (0..side * side).map(|place| bump[place % side * side + place / side]).collect()
}

/// One half of a bump, of length 1.
fn half(height: usize, width: usize) -> Vec<f64> {
    let rings = (height / 2).max(width / 2) + 1;
    let mut heights: Vec<f64> = (0..rings).map(|ring| 1.0 / ((ring + 1) as f64).powi(2)).collect();
    for ring in (1..rings).rev() {
        heights[ring - 1] += heights[ring];
    }
    let ring = |place: usize| (place / width).abs_diff(height / 2).max((place % width).abs_diff(width / 2));
    let mut half: Vec<f64> = (0..height * width).map(|place| heights[ring(place)]).collect();
    scale_to(1.0, &mut half);
    half
}

/// Brings moves to this length; what has none stays.
fn scale_to(length: f64, moves: &mut [f64]) {
    let now = Norm::L2.length(moves.iter().copied());
    if now > 0.0 {
        for moved in moves {
            *moved *= length / now;
        }
    }
}

/// A square of the image, by its corner.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub row: usize,
    pub column: usize,
    pub side: usize,
}

impl Window {
    /// The places of its pixels in a channel, row by row.
    pub fn places(self, channel: usize, height: usize, width: usize) -> impl Iterator<Item = usize> + Clone {
        let rows = self.row..self.row + self.side;
        rows.flat_map(move |row| {
            let line = (channel * height + row) * width + self.column;
            line..line + self.side
        })
    }

    fn contains(self, place: usize, width: usize, height: usize) -> bool {
        let (row, column) = (place / width % height, place % width);
        (self.row..self.row + self.side).contains(&row)
            && (self.column..self.column + self.side).contains(&column)
    }
}

/// The image as everything begins: bumps in a grid of at least five by five windows, with a sign for each window and
/// channel, together as long as the radius.
///
/// `draw` gives whether a window's bump is turned (no channel), and whether it is turned upside down in a channel.
pub(super) fn tiles(
    image: &[f32],
    [channels, height, width]: [usize; 3],
    eps: f64,
    draw: &dyn Fn(usize, Option<usize>) -> bool,
) -> Vec<f32> {
    let side = (height.min(width) / 5).max(1);
    let (rows, columns) = (height / side, width / side);
    let (top, left) = ((height - rows * side) / 2, (width - columns * side) / 2);
    let mut moves = vec![0.0; image.len()];
    for tile in 0..rows * columns {
        let (row, column) = (top + tile / columns * side, left + tile % columns * side);
        let window = Window { row, column, side };
        let bump = bump(side, draw(tile, None));
        for channel in 0..channels {
            let sign = if draw(tile, Some(channel)) { -1.0 } else { 1.0 };
            for (place, value) in window.places(channel, height, width).zip(&bump) {
                moves[place] = sign * value;
            }
        }
    }
    moved(image, moves, eps)
}

/// `point` with the first window's moves mixed with a bump, which takes what the second window had and what the radius
/// leaves over. `signs` has one value per channel.
pub(super) fn shift(
    image: &[f32],
    point: &[f32],
    [channels, height, width]: [usize; 3],
    eps: f64,
    [first, second]: [Window; 2],
    is_turned: bool,
    signs: &[f64],
) -> Vec<f32> {
    let mut moves: Vec<f64> =
        point.iter().zip(image).map(|(point, image)| f64::from(point - image)).collect();
    let length = |moves: &[f64], places: &mut dyn Iterator<Item = usize>| -> f64 {
        Norm::L2.length(places.map(|place| moves[place]))
    };
    let whole = length(&moves, &mut (0..moves.len()));
    let spare = (eps * eps - whole * whole).max(0.0) / channels as f64;
    let bump = bump(first.side, is_turned);
    for (channel, sign) in signs.iter().enumerate() {
        let places = || first.places(channel, height, width);
        let own = length(&moves, &mut places());
        let rest = length(
            &moves,
            &mut second.places(channel, height, width).filter(|&place| !first.contains(place, width, height)),
        );
        let budget = (spare + own * own + rest * rest).sqrt();
        let old = places().map(|place| if own > 0.0 { moves[place] / own } else { 0.0 });
        let mut new: Vec<f64> = old.zip(&bump).map(|(old, bump)| old + sign * bump).collect();
        scale_to(budget, &mut new);
        for place in second.places(channel, height, width) {
            moves[place] = 0.0;
        }
        for (place, new) in places().zip(new) {
            moves[place] = new;
        }
    }
    moved(image, moves, eps)
}

/// The image after moves that are together as long as the radius, cut to the pixel range.
fn moved(image: &[f32], mut moves: Vec<f64>, eps: f64) -> Vec<f32> {
    scale_to(eps, &mut moves);
    image.iter().zip(moves).map(|(image, moved)| (image + moved as f32).clamp(0.0, 1.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agree(found: &[f64], wanted: &[f64], tolerance: f64) {
        let worst = found.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst < tolerance && found.len() == wanted.len(), "{found:?}, not {wanted:?}");
    }

    /// The authors' code: `eta` of pyautoattack 0.2.0.
    #[test]
    fn bumps_are_the_authors() {
        agree(&bump(1, false), &[-1.0], 1e-6);
        agree(&bump(2, false), &[0.138_675, 0.693_375, -0.138_675, -0.693_375], 1e-6);
        let upright = [
            0.136_083, 0.680_414, 0.136_083, -0.129_099, -0.129_099, -0.129_099, -0.129_099, -0.645_497,
            -0.129_099,
        ];
        agree(&bump(3, false), &upright, 1e-6);
        let turned = [
            0.136_083, -0.129_099, -0.129_099, 0.680_414, -0.129_099, -0.645_497, 0.136_083, -0.129_099,
            -0.129_099,
        ];
        agree(&bump(3, true), &turned, 1e-6);
        let first_half = [
            0.049_162, 0.159_777, 0.159_777, 0.159_777, 0.049_162, 0.049_162, 0.159_777, 0.602_237,
            0.159_777, 0.049_162,
        ];
        agree(&bump(5, false)[..10], &first_half, 1e-6);
    }

    /// The points that the authors' code asks about (pyautoattack 0.2.0, 2 x 5 x 5 pixels, eps 0.8, p 0.3), its draws
    /// replaced by the ones here: the grid, then three moves, each from the point before.
    #[test]
    fn points_are_those_that_the_authors_code_asks_about() {
        let image: Vec<f32> = (0..50).map(|i| (i * 37 % 50) as f32 / 49.0).collect();
        let (shape, eps) = ([2, 5, 5], 0.8);
        let draw = |tile: usize, channel: Option<usize>| match channel {
            None => false,
            Some(channel) => (tile * 7).is_multiple_of(3) == (channel == 0),
        };
        let mut point = tiles(&image, shape, eps, &draw);
        let mut asked = vec![point.clone()];
        let window = |row, column| Window { row, column, side: 3 };
        for (windows, is_turned, signs) in [
            ([window(0, 1), window(1, 0)], false, [1.0, -1.0]),
            ([window(1, 1), window(0, 0)], true, [-1.0, -1.0]),
            ([window(0, 0), window(1, 1)], false, [1.0, 1.0]),
        ] {
            point = shift(&image, &point, shape, eps, windows, is_turned, &signs);
            asked.push(point.clone());
        }
        for (found, wanted) in asked.iter().zip(ASKED) {
            agree(&found.iter().map(|&pixel| f64::from(pixel)).collect::<Vec<_>>(), &wanted, 2e-5);
        }
    }

    const ASKED: [[f64; 50]; 4] = [
        [
            0.113_14, 0.641_96, 0.376_66, 0.337_63, 0.866_45, 0.601_15, 0.562_12, 0.070_54, 0.825_64,
            0.786_61, 0.295_03, 0.029_72, 1.0, 0.519_52, 0.254_21, 0.215_18, 0.744_01, 0.478_7, 0.439_67,
            0.0, 0.703_19, 0.664_16, 0.172_58, 0.0, 0.888_65, 0.397_07, 0.358_04, 1.0, 0.621_56, 0.582_52,
            0.317_22, 0.846_05, 0.807_01, 0.541_71, 0.050_13, 1.0, 0.766_2, 0.274_62, 0.235_59, 0.990_69,
            0.499_11, 0.460_08, 0.194_77, 0.723_6, 0.684_57, 0.419_26, 0.0, 0.909_06, 0.643_75, 0.152_17,
        ],
        [
            0.113_14, 0.678_79, 0.620_39, 0.404_25, 0.866_45, 0.714_29, 0.527_94, 0.006_57, 0.761_67,
            0.786_61, 0.408_16, 0.0, 0.768_08, 0.455_55, 0.254_21, 0.102_04, 0.857_14, 0.591_84, 0.439_67,
            0.0, 0.703_19, 0.664_16, 0.172_58, 0.0, 0.888_65, 0.397_07, 0.314_7, 0.781_62, 0.577_55,
            0.582_52, 0.204_08, 0.887_15, 0.848_78, 0.583_48, 0.050_13, 0.918_37, 0.807_97, 0.481_45,
            0.277_36, 0.990_69, 0.612_24, 0.346_94, 0.081_63, 0.723_6, 0.684_57, 0.419_26, 0.0, 0.909_06,
            0.643_75, 0.152_17,
        ],
        [
            0.0, 0.755_1, 0.489_8, 0.404_25, 0.866_45, 0.714_29, 0.472_28, 0.070_66, 0.825_76, 0.786_61,
            0.408_16, 0.0, 0.826_96, 0.697_8, 0.254_21, 0.102_04, 0.810_19, 0.636_38, 0.471_72, 0.0,
            0.703_19, 0.664_16, 0.172_58, 0.0, 0.888_65, 0.510_2, 0.244_9, 1.0, 0.577_55, 0.582_52, 0.204_08,
            0.858_71, 0.861_84, 0.596_54, 0.050_13, 0.918_37, 0.583, 0.504_35, 0.442_26, 0.990_69, 0.612_24,
            0.306_92, 0.119_59, 0.779_74, 0.684_57, 0.419_26, 0.0, 0.909_06, 0.643_75, 0.152_17,
        ],
        [
            0.028_32, 0.896_7, 0.518_12, 0.404_25, 0.866_45, 0.687_42, 0.446_74, 0.037_36, 0.938_78,
            0.786_61, 0.381_3, 0.0, 0.796_05, 0.632_65, 0.254_21, 0.102_04, 0.857_14, 0.591_84, 0.326_53,
            0.0, 0.703_19, 0.664_16, 0.172_58, 0.0, 0.888_65, 0.556_18, 0.474_78, 1.0, 0.577_55, 0.582_52,
            0.160_46, 0.773_15, 0.888_35, 0.428_57, 0.050_13, 0.874_75, 0.335_66, 0.509_41, 0.122_45,
            0.990_69, 0.612_24, 0.346_94, 0.081_63, 0.836_73, 0.684_57, 0.419_26, 0.0, 0.909_06, 0.643_75,
            0.152_17,
        ],
    ];

    #[test]
    fn images_smaller_than_five_pixels_and_oblong_ones_have_a_grid_too() {
        for shape @ [channels, height, width] in [[1, 1, 1], [3, 4, 4], [1, 3, 9], [2, 12, 7]] {
            let image = vec![0.5; channels * height * width];
            let point =
                tiles(&image, shape, 0.3, &|tile, channel| (tile + channel.unwrap_or(5)).is_multiple_of(2));
            assert!((Norm::L2.between(&image, &point) - 0.3).abs() < 1e-6, "{shape:?}");
        }
    }
}
