//! Sums over the parts of a batch, in the order of the parts on however many ranks.

use super::{Collective, deal};

/// One flat array a part, added up part by part: the same bits on any number of ranks.
///
/// Each rank sends to every other the stretch of its parts' arrays that the other adds up, and gets the sums of all
/// stretches back. For L numbers, R ranks and p parts a rank that is `4 p L (R - 1) / R` bytes sent and as many
/// received, then `4 L (R - 1) / R`: with one part a rank, what a ring's all-reduce sends, which adds in an order of its
/// own.
pub struct PartSums<'a> {
    collective: &'a dyn Collective,
    parts: usize,
    length: usize,
    /// Numbers that a rank adds up.
    stretch: usize,
    /// Parts that are in.
    put: usize,
    /// For each rank its stretch of each part; alone, the sum so far.
    kept: Vec<f32>,
}

impl<'a> PartSums<'a> {
    /// Of arrays of this length.
    pub fn new(collective: &'a dyn Collective, parts: usize, length: usize) -> Self {
        let ranks = collective.ranks();
        let stretch = length.div_ceil(ranks);
        let own = if ranks == 1 { 1 } else { deal(parts, ranks, collective.rank()).len() };
        Self { collective, parts, length, stretch, put: 0, kept: vec![0.0; own * ranks * stretch] }
    }

    /// Adds the array of this rank's next part.
    pub fn put(&mut self, values: &[f32]) {
        assert_eq!(values.len(), self.length, "every part has as many numbers");
        if self.collective.ranks() == 1 {
            if self.put == 0 {
                self.kept.copy_from_slice(values);
            } else {
                add(&mut self.kept, values);
            }
        } else {
            let own = self.kept.len() / (self.collective.ranks() * self.stretch);
            for (rank, piece) in values.chunks(self.stretch).enumerate() {
                let from = (rank * own + self.put) * self.stretch;
                self.kept[from..from + piece.len()].copy_from_slice(piece);
            }
        }
        self.put += 1;
    }

    /// The sums; waits for the other ranks.
    pub fn total(self) -> Vec<f32> {
        let Self { collective, parts, length, stretch, put, kept } = self;
        let ranks = collective.ranks();
        assert_eq!(put, deal(parts, ranks, collective.rank()).len(), "a rank puts in each of its parts");
        if ranks == 1 {
            return kept;
        }
        let of_ranks: Vec<usize> = (0..ranks).map(|rank| deal(parts, ranks, rank).len() * stretch).collect();
        let mut all = vec![0.0; parts * stretch];
        collective.exchange(&kept, &vec![put * stretch; ranks], &mut all, &of_ranks);
        // Ranks have their parts in order, so that the parts lie in order here.
        let (sum, others) = all.split_at_mut(stretch);
        for part in others.chunks_exact(stretch) {
            add(sum, part);
        }
        let mut whole = vec![0.0; ranks * stretch];
        collective.concatenate(sum, &mut whole);
        whole.truncate(length);
        whole
    }
}

fn add(sum: &mut [f32], values: &[f32]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += value;
    }
}

#[cfg(test)]
mod tests {
    use method::rng::{Purpose, Stream};

    use super::super::{Alone, threads};
    use super::*;

    const PARTS: usize = 8;

    /// Numbers of very different sizes: another order gives other bits.
    fn part(number: usize, length: usize) -> Vec<f32> {
        let mut values = vec![0.0; length];
        Stream::new(5, Purpose::Eval, 0, number).normals(&mut values);
        values.iter().zip(0..).map(|(value, place)| (value * 10f64.powi(place % 9)) as f32).collect()
    }

    fn total(collective: &dyn Collective, length: usize) -> Vec<u32> {
        let mut sums = PartSums::new(collective, PARTS, length);
        for number in deal(PARTS, collective.ranks(), collective.rank()) {
            sums.put(&part(number, length));
        }
        sums.total().into_iter().map(f32::to_bits).collect()
    }

    #[test]
    fn the_sum_goes_from_the_first_part_to_the_last_on_any_number_of_ranks() {
        for length in [1, 5, 64, 1001] {
            let wanted: Vec<u32> = (0..length)
                .map(|place| {
                    let values = (0..PARTS).map(|number| part(number, length)[place]);
                    values.reduce(|sum, value| sum + value).unwrap().to_bits()
                })
                .collect();
            assert_eq!(total(&Alone, length), wanted);
            for ranks in 2..=PARTS {
                for found in threads::on_ranks(ranks, |collective| total(collective, length)) {
                    assert_eq!(found, wanted, "{ranks} ranks, {length} numbers");
                }
            }
        }
        let backwards = (0..PARTS).rev().map(|number| part(number, 1001)).reduce(|mut sum, values| {
            add(&mut sum, &values);
            sum
        });
        let backwards: Vec<u32> = backwards.unwrap().into_iter().map(f32::to_bits).collect();
        assert_ne!(backwards, total(&Alone, 1001), "the order shows in these numbers");
    }
}
