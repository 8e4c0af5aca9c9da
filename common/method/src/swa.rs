//! Stochastic weight averaging: the mean of the weights at the ends of a run's last epochs, judged and published in the
//! student's place. Source: Izmailov et al., UAI 2018, arXiv:1803.05407.

use std::ops::Range;

use engine::graph::Op;
use engine::{Engine, EngineError, Images, Keep, Network, Norm, Params};

/// The mean of the students that stood at the ends of epochs, each with the same weight.
///
/// PyTorch's `AveragedModel(model)`, updated after each epoch from one on. Running statistics of one student say little
/// about the mean of several: [`Swa::reestimate`] measures them anew before anybody judges it.
#[derive(Clone, Debug)]
pub struct Swa {
    /// The first epoch whose end is taken, from 1.
    first: usize,
    taken: usize,
    params: Option<Params>,
}

impl Swa {
    /// From this share of a run of so many epochs on: `0.5` of 10 takes the ends of epochs 5 to 10.
    pub fn from_share(share: f64, epochs: usize) -> Self {
        // 0.475 * 200 is an epoch too late where it is rounded up.
        let first = (share * epochs as f64 - 1e-9).ceil().max(1.0) as usize;
        Self { first, taken: 0, params: None }
    }

    /// The first epoch whose end is taken, from 1.
    pub fn first(&self) -> usize {
        self.first
    }

    /// As it was after so many epochs, with the values that a checkpoint kept; none before the first was taken.
    #[must_use]
    pub fn resumed(self, epochs: usize, params: Option<Params>) -> Self {
        let taken = if params.is_some() { (epochs + 1).saturating_sub(self.first) } else { 0 };
        Self { taken, params, ..self }
    }

    /// The mean; none before the first student is taken.
    pub fn params(&self) -> Option<&Params> {
        self.params.as_ref()
    }

    /// Takes the student at the end of this epoch, from 1; says whether it is one of those that count. Refuses another
    /// network's.
    pub fn take(&mut self, engine: &dyn Engine, student: &Params, epoch: usize) -> Result<bool, EngineError> {
        if epoch < self.first {
            return Ok(false);
        }
        match &mut self.params {
            None => self.params = Some(student.clone()),
            Some(mean) => {
                let kept = self.taken as f64 / (self.taken as f64 + 1.0);
                engine.follow(mean, student, kept)?;
            }
        }
        self.taken += 1;
        Ok(true)
    }

    /// Measures the mean's running statistics anew: those of each BatchNorm become the mean of what it sees in forwards
    /// over these batches, every batch counting alike, and its counter their number. Does nothing before the first student
    /// is taken, or to a network without BatchNorm.
    ///
    /// PyTorch's `update_bn`. The statistics, a few thousand numbers, are summed on the host.
    pub fn reestimate<E: From<EngineError>>(
        &mut self,
        engine: &dyn Engine,
        network: &Network,
        batches: impl IntoIterator<Item = Result<Images, E>>,
    ) -> Result<(), E> {
        let Some(params) = &mut self.params else { return Ok(()) };
        let places: Vec<Range<usize>> = network
            .layout()
            .statistics()
            .iter()
            .filter(|entry| matches!(network.node(entry.node).op, Op::BatchNorm { .. }))
            .map(|entry| entry.range.clone())
            .collect();
        if places.is_empty() {
            return Ok(());
        }
        let mut sums = vec![0.0; network.layout().statistics_len()];
        let mut count = 0;
        for images in batches {
            let pass = engine.forward(network, params, &images?, Norm::Batch, Keep::Nothing, &[])?;
            let Some(seen) = pass.stats.values else { continue };
            for place in places.iter().cloned().flatten() {
                sums[place] += seen.host().get(place);
            }
            count += 1;
        }
        if count > 0 {
            let statistics = params.statistics_mut();
            for place in places.into_iter().flatten() {
                statistics.set(place, sums[place] / f64::from(count));
            }
            params.batches_tracked_mut().fill(count.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};
    use engine::Reference;
    use engine::graph::Builder;
    use engine::params::Precision;

    use super::*;

    /// BatchNorm on images of two channels and two pixels, and what makes logits of it.
    fn network() -> Network {
        let (mut builder, input) = Builder::new([2, 1, 2]);
        let norm = builder.node("norm", Op::BatchNorm { eps: 1e-5, momentum: 0.1 }, &[input]).unwrap();
        let flat = builder.node("flat", Op::Flatten, &[norm]).unwrap();
        builder.node("linear", Op::Linear { out: 2, bias: true }, &[flat]).unwrap();
        builder.finish("line").unwrap()
    }

    /// The student after each of four epochs: all weights are this.
    const STUDENTS: [f64; 4] = [1.0, 2.0, 4.0, -3.0];

    fn student(network: &Network, weight: f64) -> Params {
        let mut params = Params::zeros(network.layout(), Precision::F64);
        let weights = params.trainable().len();
        params.trainable_mut().fill(0..weights, weight);
        params
    }

    /// PyTorch 2.15's `AveragedModel` over these four.
    #[test]
    fn the_mean_of_the_ends_of_epochs_is_that_of_pytorch() {
        let (network, engine) = (network(), Reference::new(1).unwrap());
        let mut swa = Swa::from_share(0.0, 4);
        let means = [1.0, 1.5, 2.333_333_333_333_333_5, 1.0];
        for (epoch, (weight, wanted)) in (1..).zip(STUDENTS.into_iter().zip(means)) {
            assert!(swa.take(&engine, &student(&network, weight), epoch).unwrap());
            let found = swa.params().unwrap().trainable().get(0);
            assert!((found - wanted).abs() < 1e-15, "epoch {epoch}: {found}");
            // As a checkpoint brings it back.
            swa = Swa::from_share(0.0, 4).resumed(epoch, swa.params().cloned());
        }
    }

    /// A run of HongsinLee/saad begins with epoch 95 of 200: the first whose end is at a share of at least 0.475.
    #[test]
    fn the_first_epoch_taken_is_the_first_that_ends_at_the_share_or_behind_it() {
        let (network, engine) = (network(), Reference::new(1).unwrap());
        for (share, epochs, first) in [(0.475, 200, 95), (0.5, 10, 5), (0.5, 3, 2), (0.0, 7, 1), (0.99, 5, 5)]
        {
            let mut swa = Swa::from_share(share, epochs);
            for epoch in 1..=epochs {
                let taken = swa.take(&engine, &student(&network, 1.0), epoch).unwrap();
                assert_eq!(taken, epoch >= first, "from {share} of {epochs}, epoch {epoch}");
            }
        }
    }

    /// PyTorch 2.15's `update_bn` over a batch of three images and one of one: both count alike, variances are unbiased.
    #[test]
    fn statistics_are_measured_anew_as_by_pytorch() {
        let (network, engine) = (network(), Reference::new(1).unwrap());
        let batch = |pixels: &[f64]| -> Result<Images, EngineError> {
            Ok(Tensor::from_slice(pixels, (pixels.len() / 4, 2, 1, 2), &Device::Cpu).unwrap().into())
        };
        let three = [0.0, 0.5, 0.25, 1.0, 0.75, 0.125, 0.5, 0.5, 1.0, 0.25, 0.0, 0.625];
        let batches = || [batch(&three), batch(&[0.875, 0.0, 0.375, 0.25])];
        let mut swa = Swa::from_share(0.5, 2);
        swa.reestimate(&engine, &network, batches()).unwrap();
        assert!(swa.params().is_none(), "nobody is there yet");
        let mut begun = student(&network, 1.0);
        begun.statistics_mut().fill(0..4, 7.0);
        begun.batches_tracked_mut().fill(99);
        swa.take(&engine, &begun, 1).unwrap();
        swa.reestimate(&engine, &network, batches()).unwrap();
        let found = swa.params().unwrap();
        let wanted = [0.4375, 0.395_833_333_333_333_37, 0.265_625, 0.061_458_333_333_333_32];
        for (found, wanted) in found.statistics().to_f64(0..4).into_iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-15, "{found}, not {wanted}");
        }
        assert_eq!(found.batches_tracked(), [2]);
    }
}
