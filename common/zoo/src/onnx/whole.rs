//! Whole numbers that a graph computes on its way to a shape: exporters write `x.flatten(1)` or a padding as a dozen
//! operators on small tensors. All are known when the file is read, but for the number of images in a batch.

use weights::TensorData;

/// The most numbers that shapes are computed with.
const MOST: usize = 1 << 10;

/// A tensor of whole numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    shape: Vec<usize>,
    /// Row-major; none for the number of images in a batch.
    values: Vec<Option<i64>>,
}

/// What cannot be computed, in words.
type Computed<T> = Result<T, String>;

impl Whole {
    fn new(shape: Vec<usize>, values: Vec<Option<i64>>) -> Computed<Self> {
        let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
        // Sizes beside a zero as well: products of some of them are formed later.
        if count != Some(values.len()) || values.len() > MOST || shape.iter().any(|&size| size > MOST) {
            return Err(format!("{} numbers as {shape:?}", values.len()));
        }
        Ok(Self { shape, values })
    }

    /// A list of numbers.
    pub(super) fn list(values: Vec<Option<i64>>) -> Self {
        Self { shape: vec![values.len()], values }
    }

    /// Of a constant; none of one that holds other numbers, or many.
    pub(super) fn of(tensor: &TensorData) -> Option<Self> {
        if tensor.dtype().is_float() || tensor.bytes().len() > 8 * MOST {
            return None;
        }
        let values = tensor.to_f64().into_iter().map(|value| Some(value as i64)).collect();
        Self::new(tensor.shape().to_vec(), values).ok()
    }

    /// The numbers; none for the number of images.
    pub(super) fn values(&self) -> &[Option<i64>] {
        &self.values
    }

    /// The numbers where none of them is the number of images.
    pub(super) fn known(&self) -> Computed<Vec<i64>> {
        let known: Option<Vec<i64>> = self.values.iter().copied().collect();
        known.ok_or_else(|| "it depends on the number of images in a batch".into())
    }

    fn place(axis: i64, rank: usize) -> Computed<usize> {
        let from_front = if axis < 0 { axis + rank as i64 } else { axis };
        usize::try_from(from_front)
            .ok()
            .filter(|&axis| axis < rank)
            .ok_or_else(|| format!("axis {axis} of {rank}"))
    }

    /// As many of one number as `self` says.
    pub(super) fn filled(&self, value: i64) -> Computed<Self> {
        let shape: Result<Vec<usize>, _> = self.known()?.into_iter().map(usize::try_from).collect();
        let shape = shape.map_err(|_| "a negative size")?;
        let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
        let count = count.filter(|&count| count <= MOST).ok_or("too many numbers")?;
        Self::new(shape, vec![Some(value); count])
    }

    /// `Gather` along the only axis.
    pub(super) fn gather(&self, places: &Self, axis: i64) -> Computed<Self> {
        let [length] = self.shape[..] else { return Err("Gather from more than a list".into()) };
        Self::place(axis, 1)?;
        let taken = places.known()?.into_iter().map(|place| Ok(self.values[Self::place(place, length)?]));
        Self::new(places.shape.clone(), taken.collect::<Computed<_>>()?)
    }

    /// `Concat` along the first axis.
    pub(super) fn join(parts: &[Self]) -> Computed<Self> {
        let rest = |part: &Self| part.shape.get(1..).map(<[usize]>::to_vec);
        let Some(inner) = parts.first().and_then(rest) else { return Err("Concat of single numbers".into()) };
        if parts.iter().any(|part| rest(part).as_ref() != Some(&inner)) {
            return Err("Concat of unlike shapes".into());
        }
        let rows = parts.iter().fold(0, |rows: usize, part| rows.saturating_add(part.shape[0]));
        let values = parts.iter().flat_map(|part| part.values.iter().copied()).collect();
        Self::new([vec![rows], inner].concat(), values)
    }

    /// `Reshape`.
    pub(super) fn reshape(&self, to: &Self) -> Computed<Self> {
        let wanted = to.known()?;
        let given =
            wanted.iter().filter(|&&size| size > 0).try_fold(1i64, |all, &size| all.checked_mul(size));
        let given = given.unwrap_or(0);
        let open = wanted.iter().filter(|&&size| size == -1).count();
        let count = self.values.len() as i64;
        if given == 0 || open > 1 || wanted.iter().any(|&size| size < -1) {
            return Err(format!("Reshape to {wanted:?}"));
        }
        let sizes = wanted.iter().zip(0..).map(|(&size, place)| match size {
            -1 => (count / given) as usize,
            // A zero keeps the size that is there.
            0 => self.shape.get(place).copied().unwrap_or(0),
            size => size as usize,
        });
        Self::new(sizes.collect(), self.values.clone())
    }

    /// `Unsqueeze` and `Squeeze` change no number; lists and single numbers are all there is.
    pub(super) fn flat(&self, as_list: bool) -> Computed<Self> {
        let shape = if as_list { vec![self.values.len()] } else { vec![] };
        Self::new(shape, self.values.clone())
    }

    /// `Transpose` of two axes.
    pub(super) fn transposed(&self) -> Computed<Self> {
        let [rows, columns] = self.shape[..] else {
            return Err("Transpose of other than rows and columns".into());
        };
        let values =
            (0..columns).flat_map(|c| (0..rows).map(move |r| self.values[r * columns + c])).collect();
        Self::new(vec![columns, rows], values)
    }

    /// `Slice` along one axis: numbers from `start` to `end`, every `step`th.
    pub(super) fn slice(&self, [start, end, axis, step]: [i64; 4]) -> Computed<Self> {
        let axis = Self::place(axis, self.shape.len())?;
        if axis != 0 || step == 0 {
            return Err("Slice within rows".into());
        }
        let length = self.shape[0] as i64;
        if length == 0 {
            return Ok(self.clone());
        }
        let row = self.shape[1..].iter().fold(1, |row: usize, &size| row.saturating_mul(size));
        let from_front = |place: i64| if place < 0 { place.saturating_add(length) } else { place };
        let (low, high) = if step > 0 { (0, length) } else { (-1, length - 1) };
        let (mut place, end) = (from_front(start).clamp(low.max(0), high), from_front(end).clamp(low, high));
        let (mut rows, mut values) = (0, Vec::new());
        while (step > 0 && place < end) || (step < 0 && place > end) {
            let first = place as usize * row;
            values.extend_from_slice(self.values.get(first..first + row).ok_or("Slice beyond its end")?);
            rows += 1;
            place = place.saturating_add(step);
        }
        Self::new([vec![rows], self.shape[1..].to_vec()].concat(), values)
    }

    /// Sums, differences, products and quotients, of equal shapes or with one number.
    pub(super) fn with(&self, other: &Self, operator: &str) -> Computed<Self> {
        let (a, b) = (self.known()?, other.known()?);
        let count = a.len().max(b.len());
        if [&a, &b].iter().any(|list| list.len() != count && list.len() != 1) {
            return Err(format!("{operator} of unlike shapes"));
        }
        let at = |list: &[i64], place: usize| list[if list.len() == 1 { 0 } else { place }];
        let compute = |place| {
            let (a, b) = (at(&a, place), at(&b, place));
            let computed = match operator {
                "Add" => a.checked_add(b),
                "Sub" => a.checked_sub(b),
                "Mul" => a.checked_mul(b),
                _ => a.checked_div(b),
            };
            computed.map(Some).ok_or_else(|| format!("{operator} of {a} and {b}"))
        };
        let shape = if a.len() == count { &self.shape } else { &other.shape };
        Self::new(shape.clone(), (0..count).map(compute).collect::<Computed<_>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(values: &[i64]) -> Whole {
        Whole::list(values.iter().copied().map(Some).collect())
    }

    /// What numpy gives for the same: `np.arange(6)[4:0:-2]`, `[-2:]`, `[::-1]` and so on.
    #[test]
    fn slices_are_numpys() {
        let all = list(&[0, 1, 2, 3, 4, 5]);
        for (slice, wanted) in [
            ([4, 0, 0, -2], &[4, 2][..]),
            ([-2, i64::MAX, 0, 1], &[4, 5]),
            ([-1, i64::MIN, 0, -1], &[5, 4, 3, 2, 1, 0]),
            ([1, -1, 0, 3], &[1, 4]),
            ([3, 3, 0, 1], &[]),
            ([9, 0, 0, -1], &[5, 4, 3, 2, 1]),
        ] {
            assert_eq!(all.slice(slice).unwrap(), list(wanted), "{slice:?}");
        }
        assert!(all.slice([0, 1, 1, 1]).is_err() && all.slice([0, 1, 0, 0]).is_err());
    }

    /// PyTorch's exporter turns `F.pad(x, (0, 1, 0, 1))` into these operators, which swap pairs from the last axis.
    #[test]
    fn a_padding_is_turned_from_pytorchs_order_into_onnxs() {
        let given = Whole::join(&[list(&[0, 1, 0, 1]), list(&[4]).filled(0).unwrap()]).unwrap();
        let pairs = given.reshape(&list(&[-1, 2])).unwrap().slice([-1, i64::MIN, 0, -1]).unwrap();
        let pads = pairs.transposed().unwrap().reshape(&list(&[-1])).unwrap();
        assert_eq!(pads, list(&[0, 0, 0, 0, 0, 0, 1, 1]));
    }

    #[test]
    fn the_number_of_images_is_carried_and_never_computed_with() {
        let shape = Whole::list(vec![None, Some(8), Some(4), Some(4)]);
        let first = shape.gather(&list(&[0]), 0).unwrap();
        assert_eq!(Whole::join(&[first.clone(), list(&[-1])]).unwrap().values(), [None, Some(-1)]);
        assert!(first.with(&list(&[2]), "Mul").unwrap_err().contains("number of images"));
        assert_eq!(shape.slice([1, 9, 0, 1]).unwrap().with(&list(&[2]), "Mul").unwrap(), list(&[16, 8, 8]));
    }

    #[test]
    fn what_a_file_asks_for_is_bounded() {
        assert!(list(&[1 << 40]).filled(0).is_err());
        assert!(list(&[1 << 33, 1 << 33]).filled(0).is_err());
        assert!(list(&[i64::MAX]).with(&list(&[2]), "Mul").is_err());
        assert!(list(&[1]).with(&list(&[0]), "Div").is_err());
        assert!(list(&[1, 2]).gather(&list(&[2]), 0).is_err());
        assert!(list(&[1, 2]).reshape(&list(&[-1, -1])).is_err());
        assert!(list(&[1, 2]).reshape(&list(&[1 << 40, 1 << 40])).is_err());
        assert!(Whole::new(vec![0, 1 << 40, 1 << 40], vec![]).is_err());
        assert!(Whole::new(vec![3 << 61, 0], vec![]).is_err());
        assert_eq!(list(&[]).slice([0, -1, 0, -1]).unwrap(), list(&[]));
    }
}
