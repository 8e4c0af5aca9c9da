//! The frame of a JPEG: its planes and how many blocks each has.

/// One plane.
pub(super) struct Plane {
    pub id: u8,
    /// Blocks of this plane in a unit of all planes, across and down.
    pub per_unit: [usize; 2],
    /// Blocks of its own, across and down, where it is coded alone.
    pub alone: [usize; 2],
    /// Blocks in a row as they are kept: whole units.
    pub stride: usize,
    /// Of each block, which coefficients are known not to be zero; empty where the coding does not ask.
    pub known: Vec<u64>,
    /// Number of its table of steps.
    pub steps: usize,
    /// The mean of the block before, in steps.
    pub mean: i32,
    /// Whether a scan has begun it.
    pub begun: bool,
}

/// All planes.
pub(super) struct Frame {
    pub progressive: bool,
    /// Units of all planes, across and down.
    pub units: [usize; 2],
    pub planes: Vec<Plane>,
}

impl Frame {
    /// A frame from its segment; `None` where that breaks a rule.
    pub(super) fn read(body: &[u8], progressive: bool) -> Option<Self> {
        let (&[_, high, low, wide, narrow, count], rest) = body.split_first_chunk()?;
        let size = [[wide, narrow], [high, low]].map(|side| usize::from(u16::from_be_bytes(side)));
        let rows = rest.get(..3 * usize::from(count))?.as_chunks::<3>().0;
        // A single plane is its own unit, whatever its factors say.
        let factors = |hv: u8| if count == 1 { [1, 1] } else { [usize::from(hv >> 4), usize::from(hv & 15)] };
        let fits = rows.iter().all(|&[_, hv, _]| factors(hv).iter().all(|factor| (1..=4).contains(factor)));
        if !fits || !(1..=4).contains(&count) || size.contains(&0) {
            return None;
        }
        let most: [usize; 2] =
            std::array::from_fn(|side| rows.iter().map(|&[_, hv, _]| factors(hv)[side]).max().unwrap_or(1));
        let units: [usize; 2] = std::array::from_fn(|side| size[side].div_ceil(8 * most[side]));
        let plane = |&[id, hv, steps]: &[u8; 3]| {
            let per_unit = factors(hv);
            let alone =
                std::array::from_fn(|side| (size[side] * per_unit[side]).div_ceil(most[side]).div_ceil(8));
            let stride = units[0] * per_unit[0];
            let blocks = if progressive { stride * units[1] * per_unit[1] } else { 0 };
            let (known, steps) = (vec![0; blocks], usize::from(steps));
            Plane { id, per_unit, alone, stride, known, steps, mean: 0, begun: false }
        };
        Some(Self { progressive, units, planes: rows.iter().map(plane).collect() })
    }

    /// Whether every plane was begun.
    pub(super) fn is_complete(&self) -> bool {
        self.planes.iter().all(|plane| plane.begun)
    }
}
