//! Gathering a tensor out of a storage: PyTorch saves the whole storage, and each tensor as a view of it.

/// A view that was checked against the length of its storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Strided {
    shape: Vec<usize>,
    strides: Vec<usize>,
    offset: usize,
    width: usize,
    count: usize,
}

/// PyTorch and numpy stop at 64 dimensions.
const MAX_DIMENSIONS: usize = 64;

impl Strided {
    /// A view of `shape` with `strides` from `offset` (all in elements of `width` bytes) into a storage of
    /// `stored` elements.
    pub fn new(
        shape: &[usize],
        strides: &[usize],
        offset: usize,
        width: usize,
        stored: usize,
    ) -> Result<Self, String> {
        if shape.len() != strides.len() || shape.len() > MAX_DIMENSIONS {
            return Err(format!("shape {shape:?} with strides {strides:?}"));
        }
        let beyond = || {
            let view = format!("shape {shape:?}, strides {strides:?}, offset {offset}");
            format!("{view} reach outside a storage of {stored} elements")
        };
        let mut count = 1_usize;
        let mut last = offset;
        if shape.contains(&0) {
            count = 0;
        } else {
            for (&n, &stride) in shape.iter().zip(strides) {
                count = count.checked_mul(n).ok_or_else(beyond)?;
                last = (n - 1)
                    .checked_mul(stride)
                    .and_then(|reach| last.checked_add(reach))
                    .ok_or_else(beyond)?;
            }
            if last >= stored {
                return Err(beyond());
            }
        }
        count.checked_mul(width).ok_or_else(beyond)?;
        Ok(Self { shape: shape.to_vec(), strides: strides.to_vec(), offset, width, count })
    }

    /// Row-major strides of `shape`, in elements; saturating, for `new` refuses what overflows.
    pub fn row_major(shape: &[usize]) -> Vec<usize> {
        let mut strides = vec![1_usize; shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = strides[axis].saturating_mul(shape[axis]);
        }
        strides
    }

    /// Bytes the gathered tensor takes. With a stride of 0 this is not bounded by the storage: check it
    /// before gathering.
    pub fn bytes(&self) -> usize {
        self.count * self.width
    }

    /// The elements, row-major. `storage` holds at least the elements that `new` was told.
    pub fn gather(&self, storage: &[u8]) -> Vec<u8> {
        let width = self.width;
        if self.count == 0 {
            return Vec::new();
        }
        if self.is_row_major() {
            return storage[self.offset * width..][..self.count * width].to_vec();
        }
        let mut values = Vec::with_capacity(self.count * width);
        let mut index = vec![0; self.shape.len()];
        let mut at = self.offset;
        for _ in 0..self.count {
            values.extend_from_slice(&storage[at * width..][..width]);
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                at += self.strides[axis];
                if index[axis] < self.shape[axis] {
                    break;
                }
                at -= self.strides[axis] * self.shape[axis];
                index[axis] = 0;
            }
        }
        values
    }

    fn is_row_major(&self) -> bool {
        let expected = Self::row_major(&self.shape);
        // The stride of an axis of length 1 is never used, and PyTorch stores anything there.
        (0..self.shape.len()).all(|axis| self.shape[axis] == 1 || self.strides[axis] == expected[axis])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transposed_view_is_gathered_row_by_row() {
        // Storage 0 1 2 / 3 4 5, transposed: 0 3 / 1 4 / 2 5.
        let view = Strided::new(&[3, 2], &[1, 3], 0, 1, 6).unwrap();
        assert_eq!(view.gather(&[0, 1, 2, 3, 4, 5]), [0, 3, 1, 4, 2, 5]);
    }

    #[test]
    fn a_slice_with_steps_and_offset_is_gathered() {
        // x[1:, ::2] of a 3x4 of two-byte elements numbered 0..12.
        let storage: Vec<u8> = (0..12_u16).flat_map(u16::to_le_bytes).collect();
        let view = Strided::new(&[2, 2], &[4, 2], 4, 2, 12).unwrap();
        let expected: Vec<u8> = [4_u16, 6, 8, 10].into_iter().flat_map(u16::to_le_bytes).collect();
        assert_eq!(view.gather(&storage), expected);
    }

    #[test]
    fn an_expanded_view_repeats_its_elements() {
        let view = Strided::new(&[2, 3], &[0, 1], 1, 1, 4).unwrap();
        assert_eq!(view.gather(&[9, 1, 2, 3]), [1, 2, 3, 1, 2, 3]);
    }

    #[test]
    fn a_view_that_leaves_its_storage_is_refused() {
        assert!(Strided::new(&[2, 3], &[3, 1], 1, 4, 6).is_err());
        assert!(Strided::new(&[], &[], 6, 4, 6).is_err());
        assert!(Strided::new(&[usize::MAX, usize::MAX], &[0, 0], 0, 4, 6).is_err());
        assert!(Strided::new(&[2], &[usize::MAX], 1, 4, 6).is_err());
        assert!(Strided::new(&[usize::MAX], &[0], 0, 4, 6).is_err());
        assert!(Strided::new(&[1, 2], &[1], 0, 4, 6).is_err());
        assert!(Strided::new(&[1; 65], &[1; 65], 0, 4, 6).is_err());
    }

    #[test]
    fn an_empty_view_may_begin_at_the_end() {
        assert_eq!(Strided::new(&[0, 5], &[5, 1], 6, 4, 6).unwrap().gather(&[]), [0; 0]);
    }
}
