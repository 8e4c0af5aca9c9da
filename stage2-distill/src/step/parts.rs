//! A step whose batch is cut into parts: forwards, batch statistics and loss are a part's own, and the step goes by their
//! mean.
//!
//! A part is what one process does without the others, and what it finds is added up in the order of the parts: which rank
//! had which part shows nowhere. Another number of parts is another training: BatchNorm sees fewer images at once.

use std::ops::Range;

use cli::Stop;
use engine::params::{Arena, Values};
use engine::{BatchStats, Norm};
use method::objective::Epoch;

use super::{Batch, Found, Moving, StepError, TrainStep};
use crate::ranks::{Collective, PartSums, deal};

/// How the batch of a step is cut, and who does which part of it.
pub struct Parts<'a> {
    /// Parts of a batch, at least one a rank. They are contiguous and differ by one image at most; a short batch may leave some empty.
    pub count: usize,
    /// The processes that share them, each a contiguous range.
    pub collective: &'a dyn Collective,
    /// Images of the batch.
    pub images: usize,
    /// Where in the run the step lies.
    pub epoch: Epoch,
    /// Set when somebody asks this process to stop.
    pub stop: &'a Stop,
}

/// What all ranks know after a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stepped {
    /// The mean of the parts' losses before the weights moved, each weighted by its images.
    pub loss: f64,
    /// Whether any rank was asked to stop.
    pub stop: bool,
}

/// Where in the flat array of a part which numbers lie: its gradients, those of the heads, the statistics of each of its
/// forwards, its loss, and whether to stop.
struct Places {
    grads: Range<usize>,
    heads: Range<usize>,
    stats: Vec<Range<usize>>,
    loss: usize,
    stop: usize,
}

impl Places {
    fn length(&self) -> usize {
        self.stop + 1
    }
}

impl TrainStep<'_> {
    /// One step at learning rate `rate`, of which this rank does its parts. `batch` gives what a range of the images learns
    /// from.
    ///
    /// With `n_p` of n images in part p, the gradient is the sum of `n_p` / n times the parts' gradients, in f32 and in the
    /// parts' order. The running statistics move as often as in one piece, towards the same mean of the parts' own: of the
    /// variances within the parts, not of the whole batch. A loss that is no number on one rank is an error on all.
    pub fn run_in_parts<E: From<StepError>>(
        &self,
        moving: &mut Moving,
        parts: &Parts,
        rate: f64,
        mut batch: impl FnMut(Range<usize>) -> Result<Batch, E>,
    ) -> Result<Stepped, E> {
        let &Parts { count, collective, images, epoch, stop } = parts;
        let places = self.places(moving, epoch);
        let mut sums = PartSums::new(collective, count, places.length());
        let mut flat = vec![0.0; places.length()];
        let own = deal(count, collective.ranks(), collective.rank());
        for part in own.clone() {
            flat.fill(0.0);
            let range = deal(images, count, part);
            if !range.is_empty() {
                let share = range.len() as f32 / images as f32;
                match self.find(moving, batch(range)?) {
                    Ok(found) => write(&mut flat, &places, moving, &found, share),
                    // Makes the sum another such number, for every rank to see.
                    Err(StepError::NotFinite(loss)) => flat[places.loss] = loss as f32,
                    Err(error) => return Err(error.into()),
                }
            }
            // After all that takes its time, and before the others hear of it.
            flat[places.stop] = f32::from(u8::from(part + 1 == own.end && stop.requested()));
            sums.put(&flat);
        }
        let total = sums.total();
        let stepped = Stepped { loss: total[places.loss].into(), stop: total[places.stop] > 0.0 };
        if !stepped.loss.is_finite() {
            return Err(StepError::NotFinite(stepped.loss).into());
        }
        self.take(moving, &places, &total)?;
        self.apply(moving, rate)?;
        Ok(stepped)
    }

    fn places(&self, moving: &Moving, epoch: Epoch) -> Places {
        let attacks = match self.objective.inner() {
            Some(inner) if inner.norm == Norm::Batch => self.steps,
            _ => 0,
        };
        let layout = self.network.layout();
        let averages = !layout.counters().is_empty();
        let moves = if averages { attacks + self.objective.forwards(epoch).len() } else { 0 };
        let mut end = 0;
        let mut next = |length: usize| {
            end += length;
            end - length..end
        };
        let (grads, heads) = (next(layout.trainable_len()), next(moving.heads.gradients().len()));
        let stats = (0..moves).map(|_| next(layout.statistics_len())).collect();
        Places { grads, heads, stats, loss: next(1).start, stop: next(1).start }
    }

    /// Takes over what all parts found, and moves the running statistics.
    fn take(&self, moving: &mut Moving, places: &Places, total: &[f32]) -> Result<(), StepError> {
        single_mut(moving.grads.values_mut()).copy_from_slice(&total[places.grads.clone()]);
        single_mut(moving.heads.gradients_mut()).copy_from_slice(&total[places.heads.clone()]);
        for stats in &places.stats {
            let values = Values::new(Arena::F32(total[stats.clone()].to_vec()));
            let stats = BatchStats { values: Some(values) };
            self.engine.move_statistics(self.network, &mut moving.params, &stats)?;
        }
        Ok(())
    }
}

/// Writes what a part found, times its share of the batch.
fn write(flat: &mut [f32], places: &Places, moving: &Moving, found: &Found, share: f32) {
    let mut lay = |place: &Range<usize>, values: &Arena| {
        for (place, value) in flat[place.clone()].iter_mut().zip(single(values)) {
            *place = share * value;
        }
    };
    lay(&places.grads, moving.grads.values());
    lay(&places.heads, moving.heads.gradients());
    let met = found.stats.iter().filter_map(|stats| stats.values.as_ref());
    assert_eq!(met.clone().count(), places.stats.len(), "an objective says its forwards");
    for (place, stats) in places.stats.iter().zip(met) {
        lay(place, stats.host());
    }
    flat[places.loss] = share * found.outcome.loss as f32;
}

fn single(values: &Arena) -> &[f32] {
    match values {
        Arena::F32(values) => values,
        Arena::F64(_) => unreachable!("a batch is cut in runs alone, which are in f32"),
    }
}

fn single_mut(values: &mut Arena) -> &mut [f32] {
    match values {
        Arena::F32(values) => values,
        Arena::F64(_) => unreachable!("a batch is cut in runs alone, which are in f32"),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};
    use engine::Cpu;
    use engine::params::Precision;
    use method::init::initialise;
    use method::objective::{Memory, Natural, Sat};
    use method::optim::Sgd;
    use method::rng::{Purpose, Stream};
    use method::schedule::Schedule;
    use method::threat::Threat;
    use zoo::Task;

    use super::super::Seen;
    use super::*;
    use crate::ranks::threads::on_ranks;

    const INPUT: [usize; 3] = [3, 8, 8];
    const EPOCH: Epoch = Epoch { number: 0, of: 1, schedule: Schedule::Cosine };

    /// Views of these images; image i is the same in every batch.
    fn batch(images: Range<usize>, scale: f64) -> Batch {
        let of = |image| {
            let mut values = vec![0.0; INPUT.iter().product()];
            Stream::new(2, Purpose::Eval, 0, image).uniforms(&mut values);
            values.into_iter().map(|value| (scale * value) as f32)
        };
        let [channels, height, width] = INPUT;
        let shape = (images.len(), channels, height, width);
        let pixels = Tensor::from_vec(images.clone().flat_map(of).collect(), shape, &Device::Cpu).unwrap();
        let labels: Vec<u32> = images.clone().map(|image| image as u32 % 4).collect();
        let labels = Tensor::new(labels, &Device::Cpu).unwrap();
        Batch::of(Seen::only(pixels.into()), labels, images.collect(), EPOCH)
    }

    /// Two steps of a network with BatchNorm on this rank, the second of fewer images than parts: all that they leave, as bits.
    fn trained(collective: &dyn Collective, threads: usize) -> (Vec<u64>, Vec<u64>) {
        let (row, network) = zoo::build("resnet8", Task { input: INPUT, classes: 4 }).unwrap();
        let params = initialise(&network, row.init, 1, Precision::F32);
        let engine = Cpu::new(threads).unwrap();
        let step = TrainStep {
            engine: &engine,
            network: &network,
            objective: &Sat::default(),
            teacher: None,
            second: None,
            taps: None,
            threat: Threat::linf(8.0 / 255.0),
            steps: 2,
            step_size: 4.0 / 255.0,
            seed: 1,
        };
        let mut moving = Moving::new(params.clone(), Sgd::new(&params, 0.9, 2e-4), Memory::default());
        let mut losses = Vec::new();
        for images in [19, 5] {
            let parts = Parts { count: 8, collective, images, epoch: EPOCH, stop: &Stop::never() };
            let batch = |range| Ok::<_, StepError>(batch(range, 1.0));
            losses.push(step.run_in_parts(&mut moving, &parts, 0.1, batch).unwrap().loss.to_bits());
        }
        let arenas = [moving.params.trainable(), moving.params.statistics(), moving.sgd.velocity()];
        let bits = |arena: &Arena| arena.to_f64(0..arena.len()).into_iter().map(f64::to_bits);
        (losses, arenas.into_iter().flat_map(bits).collect())
    }

    #[test]
    fn a_step_in_parts_has_the_same_bits_on_any_number_of_ranks_and_threads() {
        let wanted = trained(&crate::ranks::Alone, 1);
        for threads in 2..=4 {
            assert!(trained(&crate::ranks::Alone, threads) == wanted, "{threads} threads");
        }
        for ranks in [2, 3, 4, 8] {
            for found in on_ranks(ranks, |collective| trained(collective, 1 + collective.rank() % 2)) {
                assert!(found == wanted, "{ranks} ranks");
            }
        }
    }

    #[test]
    fn a_loss_that_is_no_number_on_one_rank_and_a_wish_to_stop_on_another_reach_all() {
        let (row, network) = zoo::build("tiny-cnn", Task { input: INPUT, classes: 4 }).unwrap();
        let params = initialise(&network, row.init, 1, Precision::F32);
        let ends = |breaks: bool| {
            on_ranks(3, |collective| {
                let engine = Cpu::new(1).unwrap();
                let step = TrainStep {
                    engine: &engine,
                    network: &network,
                    objective: &Natural,
                    teacher: None,
                    second: None,
                    taps: None,
                    threat: Threat::linf(8.0 / 255.0),
                    steps: 1,
                    step_size: 0.0,
                    seed: 1,
                };
                let mut moving = Moving::new(params.clone(), Sgd::new(&params, 0.9, 2e-4), Memory::default());
                let stop = if collective.rank() == 1 { Stop::asked() } else { Stop::never() };
                let parts = Parts { count: 8, collective, images: 16, epoch: EPOCH, stop: &stop };
                let scale = if breaks && collective.rank() == 2 { f64::NAN } else { 1.0 };
                let batch = |range| Ok::<_, StepError>(batch(range, scale));
                let stepped = step.run_in_parts(&mut moving, &parts, 0.1, batch);
                (stepped.map(|stepped| stepped.stop), moving.params.trainable() == params.trainable())
            })
        };
        for (stopped, kept) in ends(false) {
            assert!(stopped.unwrap() && !kept, "the step is done, and then all stop");
        }
        for (stepped, kept) in ends(true) {
            assert!(matches!(stepped, Err(StepError::NotFinite(_))) && kept, "nothing moves");
        }
    }
}
