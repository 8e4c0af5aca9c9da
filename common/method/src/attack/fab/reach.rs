//! The way to a plane.

use crate::threat::Norm;

/// The shortest move within [0, 1] that raises a linear function by a given amount: every pixel goes in the direction of
/// its slope, by one length in linf, by a multiple of its slope in l2, or as far as the pixel range lets it.
pub(super) struct Reach {
    /// Of each pixel.
    pub moves: Vec<f32>,
    /// Of the whole move, in the norm.
    pub length: f32,
}

/// Pixels at a time, in chains of sums of their own.
const LANES: usize = 8;
/// Newton's steps at most; each leaves at least one piece behind, and a handful suffices for images.
const PIECES: usize = 64;

impl Reach {
    /// The move from `from` that raises `slope . x` by `amount`; where all of the pixel range does not, all of it. None
    /// without any slope.
    pub fn of(norm: Norm, amount: f32, from: &[f32], slope: &[f32]) -> Option<Self> {
        let direction = if amount < 0.0 { -1.0 } else { 1.0 };
        // How steep each pixel is, and how far it can go; what is there beyond the image adds nothing.
        let length = from.len().next_multiple_of(LANES);
        let (mut steep, mut rooms) = (vec![0.0; length], vec![0.0; length]);
        for ((steep, room), (&pixel, &slope)) in steep.iter_mut().zip(&mut rooms).zip(from.iter().zip(slope))
        {
            *steep = slope.abs();
            *room = if direction * slope > 0.0 { 1.0 - pixel } else { pixel };
        }
        let scale = match norm {
            Norm::Linf => scale(f64::from(amount.abs()), &steep, &rooms, |_| 1.0),
            Norm::L2 => scale(f64::from(amount.abs()), &steep, &rooms, |steep| steep),
        }? as f32;
        let each = slope.iter().zip(steep.iter().zip(&rooms));
        let moves = each.map(|(&slope, (&steep, &room))| {
            let way = if norm == Norm::Linf { scale } else { scale * steep };
            let way = if way < room { way } else { room };
            if slope == 0.0 { 0.0 } else { way.copysign(direction * slope) }
        });
        let moves: Vec<f32> = moves.collect();
        let length = norm.length(moves.iter().copied().map(f64::from)) as f32;
        Some(Self { moves, length })
    }
}

/// How long pixels are to move, each at its speed, until together they have gained what is wanted.
///
/// The gain is a concave function of it, made of straight pieces: from below, Newton's steps never overshoot and end on the
/// right piece.
fn scale(wanted: f64, steep: &[f32], rooms: &[f32], speed: impl Fn(f64) -> f64) -> Option<f64> {
    let mut scale = 0.0f64;
    for _ in 0..PIECES {
        let (mut gains, mut rates) = ([0.0f64; LANES], [0.0f64; LANES]);
        for (steep, rooms) in steep.as_chunks::<LANES>().0.iter().zip(rooms.as_chunks::<LANES>().0) {
            for lane in 0..LANES {
                let (steep, room) = (f64::from(steep[lane]), f64::from(rooms[lane]));
                let way = scale * speed(steep);
                gains[lane] += steep * if way < room { way } else { room };
                rates[lane] += if way < room { steep * speed(steep) } else { 0.0 };
            }
        }
        let (gain, rate): (f64, f64) = (gains.iter().sum(), rates.iter().sum());
        if rate == 0.0 {
            return (scale > 0.0).then_some(scale);
        }
        let missing = wanted - gain;
        if missing <= wanted * 1e-7 {
            break;
        }
        scale += missing / rate;
    }
    Some(scale)
}

/// What a linear function of this slope gains from one point to another.
pub(super) fn gain(slope: &[f32], from: &[f32], to: &[f32]) -> f64 {
    let mut gains = [0.0f64; LANES];
    let lines = |values| <[f32]>::chunks(values, LANES);
    for ((slope, from), to) in lines(slope).zip(lines(from)).zip(lines(to)) {
        for (((gain, &slope), &from), &to) in gains.iter_mut().zip(slope).zip(from).zip(to) {
            *gain += f64::from(slope) * f64::from(to - from);
        }
    }
    gains.iter().sum()
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

    #[test]
    fn the_way_to_a_plane_is_the_shortest_that_the_pixel_range_allows_in_both_norms() {
        for (norm, lengths) in [(Norm::Linf, LINF), (Norm::L2, L2)] {
            for ((from, slope, amount), length) in PLANES.into_iter().zip(lengths) {
                let reach = Reach::of(norm, amount, &from, &slope).unwrap();
                let moved = reach.moves;
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
            let moved = reach.moves;
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
