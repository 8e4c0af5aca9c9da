//! The map that a product reads, and the copy of it with a halo of zeros, where padding asks for one: with it every
//! tap is a constant distance from its place, inside the map and at its edges.

/// Images of rows and columns of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// Rows and columns.
    pub(super) extent: [usize; 2],
    /// Values of a pixel that mean something.
    pub(super) channels: usize,
    /// f32 from one pixel to the next.
    pub(super) pixel: usize,
    /// Rows above and columns before, of zeros.
    pub(super) before: [usize; 2],
    /// Rows below and columns after.
    pub(super) after: [usize; 2],
}

impl Source {
    pub(super) const fn new(extent: [usize; 2], channels: usize, pixel: usize) -> Self {
        Self { extent, channels, pixel, before: [0; 2], after: [0; 2] }
    }

    pub(super) const fn with_halo(mut self, before: [usize; 2], after: [usize; 2]) -> Self {
        self.before = before;
        self.after = after;
        self
    }

    /// f32 per image as it is given.
    pub(super) const fn len(&self) -> usize {
        self.extent[0] * self.extent[1] * self.pixel
    }

    /// Columns with the halo.
    pub(super) const fn cols(&self) -> usize {
        self.before[1] + self.extent[1] + self.after[1]
    }

    /// f32 per image as it is read.
    pub(super) const fn read_len(&self) -> usize {
        (self.before[0] + self.extent[0] + self.after[0]) * self.cols() * self.pixel
    }

    /// f32 per image of scratch for the copy; none where there is no halo.
    pub(super) const fn copy_len(&self) -> usize {
        if self.read_len() == self.len() { 0 } else { self.read_len() }
    }

    /// Where a pixel lies in an image as it is read; rows and columns count from the halo's corner.
    pub(super) const fn offset(&self, row: usize, col: usize) -> usize {
        (row * self.cols() + col) * self.pixel
    }

    /// The images as they are read: themselves, or their copies in `scratch`, [`copy_len`](Self::copy_len) each.
    pub(super) fn lay_out<'a>(&self, images: &'a [f32], scratch: &'a mut [f32]) -> &'a [f32] {
        if self.copy_len() == 0 {
            return images;
        }
        let count = images.len() / self.len();
        let copies = &mut scratch[..count * self.copy_len()];
        for (image, copy) in images.chunks_exact(self.len()).zip(copies.chunks_exact_mut(self.copy_len())) {
            self.copy(image, copy);
        }
        copies
    }

    fn copy(&self, image: &[f32], copy: &mut [f32]) {
        let row_len = self.cols() * self.pixel;
        let (above, rest) = copy.split_at_mut(self.before[0] * row_len);
        let (inside, below) = rest.split_at_mut(self.extent[0] * row_len);
        above.fill(0.0);
        below.fill(0.0);
        let rows = image.chunks_exact(self.extent[1] * self.pixel);
        for (to, from) in inside.chunks_exact_mut(row_len).zip(rows) {
            let (left, rest) = to.split_at_mut(self.before[1] * self.pixel);
            let (middle, right) = rest.split_at_mut(from.len());
            left.fill(0.0);
            middle.copy_from_slice(from);
            right.fill(0.0);
        }
    }
}
