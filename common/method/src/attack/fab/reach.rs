//! The way to a plane.

use crate::threat::Norm;

/// The shortest move within [0, 1] that raises a linear function by a given amount: every pixel goes in the direction of
/// its slope, by `scale` in linf, by `scale` times its slope in l2, or as far as the pixel range lets it.
pub(super) struct Reach {
    norm: Norm,
    direction: f32,
    scale: f32,
    /// Of the whole move, in the norm.
    pub length: f32,
}

impl Reach {
    /// The move from `from` that raises `slope . x` by `amount`; where all of the pixel range does not, all of it. None
    /// without any slope.
    pub fn of(norm: Norm, amount: f32, from: &[f32], slope: &[f32]) -> Option<Self> {
        let direction = if amount < 0.0 { -1.0 } else { 1.0 };
        let wanted = f64::from(amount.abs());
        // The gain is a concave function of the scale, made of straight pieces: from below, Newton's steps never
        // overshoot and end on the right piece.
        let mut scale = 0.0f64;
        for _ in 0..PIECES {
            let (mut gain, mut rate) = (0.0f64, 0.0f64);
            for (&pixel, &slope) in from.iter().zip(slope) {
                let (weight, room) = (f64::from(slope.abs()), f64::from(room(pixel, direction * slope)));
                let speed = match norm {
                    Norm::Linf => 1.0,
                    Norm::L2 => weight,
                };
                if room > scale * speed {
                    gain += weight * speed * scale;
                    rate += weight * speed;
                } else {
                    gain += weight * room;
                }
            }
            let missing = wanted - gain;
            if rate == 0.0 {
                if scale == 0.0 {
                    return None;
                }
                break;
            }
            if missing <= wanted * 1e-7 {
                break;
            }
            scale += missing / rate;
        }
        let mut reach = Self { norm, direction, scale: scale as f32, length: 0.0 };
        let moves = from.iter().zip(slope).map(|(&pixel, &slope)| f64::from(reach.step(pixel, slope)));
        reach.length = norm.length(moves) as f32;
        Some(reach)
    }

    /// The move of a pixel with this slope.
    pub fn step(&self, pixel: f32, slope: f32) -> f32 {
        let slope = self.direction * slope;
        let way = match self.norm {
            Norm::Linf => self.scale,
            Norm::L2 => self.scale * slope.abs(),
        };
        let way = way.min(room(pixel, slope));
        if slope > 0.0 {
            way
        } else if slope < 0.0 {
            -way
        } else {
            0.0
        }
    }
}

/// Newton's steps at most; each leaves at least one piece behind, and a handful suffices for images.
const PIECES: usize = 64;

/// How far a pixel can go in the direction of this slope.
fn room(pixel: f32, slope: f32) -> f32 {
    if slope > 0.0 { 1.0 - pixel } else { pixel }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Plane = ([f32; 6], [f32; 6], f32);
    const PLANES: [Plane; 4] = [
        ([0.81, 0.81, 0.52, 0.29, 0.05, 0.38], [-0.55, -0.78, 0.75, 1.63, 0.27, -1.23], 0.4),
        ([0.43, 0.97, 0.9, 0.84, 0.39, 0.49], [-0.63, -0.49, -0.71, 0.55, -0.06, -0.59], -0.9),
        ([0.43, 0.97, 0.9, 0.84, 0.39, 0.49], [-0.63, -0.49, -0.71, 0.55, -0.06, -0.59], 0.9),
        ([0.81, 0.81, 0.52, 0.29, 0.05, 0.38], [-0.55, -0.78, 0.75, 1.63, 0.27, -1.23], 3.0),
    ];
    /// scipy 1.17 `linprog`: the least bound on |d| with slope . d = amount and the moved pixels in [0, 1].
    const LINF: [f32; 4] = [0.076_775_43, 0.444_972_7, 0.327_419_35, 0.672_631_6];
    /// The same with the least squares, by scipy's `minimize` (SLSQP).
    const L2: [f32; 4] = [0.167_305_45, 0.801_091_85, 0.683_580_8, 1.388_059_3];

    fn moved(reach: &Reach, from: &[f32], slope: &[f32]) -> Vec<f32> {
        from.iter().zip(slope).map(|(&pixel, &slope)| reach.step(pixel, slope)).collect()
    }

    #[test]
    fn the_way_to_a_plane_is_the_shortest_that_the_pixel_range_allows_in_both_norms() {
        for (norm, lengths) in [(Norm::Linf, LINF), (Norm::L2, L2)] {
            for ((from, slope, amount), length) in PLANES.into_iter().zip(lengths) {
                let reach = Reach::of(norm, amount, &from, &slope).unwrap();
                let moved = moved(&reach, &from, &slope);
                let gained: f32 = moved.iter().zip(slope).map(|(moved, slope)| moved * slope).sum();
                assert!((reach.length - length).abs() < 1e-5, "{norm}: {}, not {length}", reach.length);
                assert!((gained - amount).abs() < 1e-5, "{norm}: {gained}, not {amount}");
                let inside = from
                    .iter()
                    .zip(&moved)
                    .all(|(pixel, moved)| (-1e-6..=1.0 + 1e-6).contains(&(pixel + moved)));
                assert!(inside, "{norm}: {moved:?}");
            }
        }
    }

    #[test]
    fn where_a_plane_is_out_of_reach_every_pixel_goes_as_far_as_it_can() {
        let (from, slope) =
            ([0.68f32, 0.87, 0.23, 0.9, 0.87, 0.02], [-1.29f32, 0.02, -0.04, -0.3, -1.05, -0.4]);
        let edges = from.iter().zip(slope).map(|(&pixel, slope)| if slope > 0.0 { 1.0 } else { 0.0 } - pixel);
        let edges: Vec<f32> = edges.collect();
        for (norm, length) in
            [(Norm::Linf, 0.9), (Norm::L2, edges.iter().map(|edge| edge * edge).sum::<f32>().sqrt())]
        {
            let reach = Reach::of(norm, 50.0, &from, &slope).unwrap();
            let moved = moved(&reach, &from, &slope);
            assert!(moved.iter().zip(&edges).all(|(moved, edge)| (moved - edge).abs() < 1e-6), "{moved:?}");
            assert!((reach.length - length).abs() < 1e-5, "{norm}: {}", reach.length);
        }
    }

    #[test]
    fn without_a_slope_there_is_no_way() {
        for norm in [Norm::Linf, Norm::L2] {
            assert!(Reach::of(norm, 1.0, &[0.5; 3], &[0.0; 3]).is_none());
        }
    }
}
