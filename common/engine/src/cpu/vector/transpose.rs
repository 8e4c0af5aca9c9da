//! Rows to columns: between the order of a kernel's lanes and PyTorch's.

#![allow(unsafe_code)]

use super::simd::{BLOCK, Simd};

/// `to[c][r] = from[r][c]` for `rows` rows and `columns` columns, rows of each a stride apart.
///
/// Where a row of `to` has room for whole vectors beyond `rows`, zeros may go there.
#[inline(always)]
pub(crate) fn transpose<S: Simd>(
    (from, from_stride): (&[f32], usize),
    (to, to_stride): (&mut [f32], usize),
    [rows, columns]: [usize; 2],
) {
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(from.len() >= (rows - 1) * from_stride + columns, "rows of {columns} from {} values", from.len());
    assert!(to.len() >= (columns - 1) * to_stride + rows, "columns of {rows} to {} values", to.len());
    for row in (0..rows).step_by(S::LANES) {
        for column in (0..columns).step_by(S::LANES) {
            let met = [(rows - row).min(S::LANES), (columns - column).min(S::LANES)];
            let (first, left) = (row * from_stride + column, column * to_stride + row);
            let last = [met[0] - 1, met[1] - 1];
            // Whole vectors must lie inside, and those that are written end before the next row.
            let reads = first + last[0] * from_stride + S::LANES <= from.len();
            let writes = left + last[1] * to_stride + S::LANES <= to.len()
                && (met[0] == S::LANES || row + S::LANES <= to_stride);
            if reads && writes {
                let (from, to) = (from[first..].as_ptr(), to[left..].as_mut_ptr());
                // SAFETY: as just found.
                unsafe {
                    if met == [S::LANES; 2] {
                        square::<S>((from, from_stride), (to, to_stride), [S::LANES; 2]);
                    } else {
                        square::<S>((from, from_stride), (to, to_stride), met);
                    }
                }
            } else {
                for r in 0..met[0] {
                    for c in 0..met[1] {
                        to[left + c * to_stride + r] = from[first + r * from_stride + c];
                    }
                }
            }
        }
    }
}

/// A square of vectors; of missing rows zeros.
///
/// # Safety
///
/// `from` is valid for a vector at each of the rows, `to` at each of the columns.
#[inline(always)]
unsafe fn square<S: Simd>(
    (from, from_stride): (*const f32, usize),
    (to, to_stride): (*mut f32, usize),
    [rows, columns]: [usize; 2],
) {
    let mut v = [S::zero(); BLOCK];
    for (r, v) in v.iter_mut().take(rows).enumerate() {
        // SAFETY: the caller's promise.
        *v = unsafe { S::load(from.add(r * from_stride)) };
    }
    // A round turns the digits of a value's place, row then lane, by one: after log2(lanes) they have changed sides.
    v = round::<S>(v);
    v = round::<S>(v);
    v = round::<S>(v);
    if S::LANES == BLOCK {
        v = round::<S>(v);
    }
    for (c, v) in v.into_iter().take(columns).enumerate() {
        // SAFETY: the caller's promise.
        unsafe { S::store(to.add(c * to_stride), v) }
    }
}

/// Each row of the upper half by turns with that of the lower half.
#[inline(always)]
fn round<S: Simd>(v: [S::V; BLOCK]) -> [S::V; BLOCK] {
    let mut next = [S::zero(); BLOCK];
    for i in 0..S::LANES / 2 {
        [next[2 * i], next[2 * i + 1]] = S::interleave(v[i], v[i + S::LANES / 2]);
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::vector::simd::{Isa, Kernel};

    struct Transpose<'a> {
        from: &'a [f32],
        to: &'a mut [f32],
        strides: [usize; 2],
        sizes: [usize; 2],
    }

    impl Kernel for Transpose<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self) {
            transpose::<S>((self.from, self.strides[0]), (self.to, self.strides[1]), self.sizes);
        }
    }

    #[test]
    fn every_value_goes_to_its_place_and_nothing_but_zeros_beside_them() {
        for isa in Isa::available() {
            for rows in 0..37 {
                for columns in 0..37 {
                    for [wider, taller] in [[0, 0], [3, 1], [16, 16]] {
                        let strides = [columns + wider, rows + taller];
                        let from: Vec<f32> = (1..=rows * strides[0]).map(|i| i as f32).collect();
                        let mut to = vec![-1.0; columns * strides[1]];
                        let sizes = [rows, columns];
                        isa.run(Transpose { from: &from, to: &mut to, strides, sizes });
                        for (at, &found) in to.iter().enumerate() {
                            let (c, r) = (at / strides[1], at % strides[1]);
                            if r < rows {
                                assert!(
                                    found.to_bits() == from[r * strides[0] + c].to_bits(),
                                    "{isa:?} {sizes:?} {strides:?}: {r}, {c}"
                                );
                            } else {
                                assert!(
                                    [-1.0f32, 0.0].map(f32::to_bits).contains(&found.to_bits()),
                                    "{isa:?} {sizes:?}: {r}, {c}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}
