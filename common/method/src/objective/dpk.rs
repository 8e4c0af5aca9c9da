//! Dynamic prior knowledge, on top of any objective: the teacher's feature maps as part of what the student's are read
//! with. Source: Qiu et al., ICLR 2023, arXiv:2206.06067; its released code is zongdaoming/dpk at 7f66025.

mod fusion;
mod mask;
mod ratio;
mod resize;

use candle_core::{DType, Result, Tensor};

use super::addition::Addition;
use super::heads::{Fresh, HeadsError};
use super::needs::{Asked, Forward, Needs};
use super::row::{Around, Epoch, Objective, Said, Targets};
use crate::options::{Choice, Options};
use crate::taps::MapShapes;
use fusion::{Fusion, Sizes};

const WEIGHT: Choice = Choice {
    key: "dpk",
    default: 0.3,
    least: 0.0,
    most: 1e4,
    is_whole: false,
    help: "weight of DPK's feature loss",
};
const HEADS: Choice = Choice {
    key: "dpk-heads",
    default: 4.0,
    least: 1.0,
    most: 64.0,
    is_whole: true,
    help: "attention heads of its fusion head (the paper's code: 8)",
};
const WIDTH: Choice = Choice {
    key: "dpk-width",
    default: 16.0,
    least: 1.0,
    most: 256.0,
    is_whole: true,
    help: "width of each attention head (the paper's code: 64 or 80)",
};
const DEPTH: Choice = Choice {
    key: "dpk-depth",
    default: 1.0,
    least: 1.0,
    most: 24.0,
    is_whole: true,
    help: "blocks of each of its two encoders (the paper's code: 4 or 6)",
};
const DECODER: Choice = Choice {
    key: "dpk-decoder",
    default: 1.0,
    least: 1.0,
    most: 24.0,
    is_whole: true,
    help: "blocks of its decoder (the paper's code: 4)",
};

pub(super) static ROW: Addition = Addition {
    name: "dpk",
    summary: "feature maps as a teacher's are, through a head that is given part of the teacher's (arXiv:2206.06067)",
    options: &[WEIGHT, HEADS, WIDTH, DEPTH, DECODER],
    needs_attack: false,
    make: |options, base| Box::new(Dpk::of(options, base)),
};

/// The weight of the first tap's loss and of each other one's: the last stage and the one before it in the released code.
const SHARES: [f64; 2] = [1.0, 0.6];
/// Positions of a map that a head can take: fewer leave nothing to mask, more make attention larger than the networks.
const POSITIONS: [usize; 2] = [4, 1024];

/// DPK: a head sees the student's map where it is not masked and the teacher's where it is, and is to give the teacher's
/// everywhere; the less alike the maps are over the batch, the more is masked.
///
/// Adds `w (L_1 + 0.6 (L_2 + ..))` to the loss of its base. For each tap: S and T are the two networks' maps of the **clean**
/// views, S resized to T's height and width (bilinear, corners aligned); c their CKA over the batch and `r = max(1 - c,
/// 0.15)` the share of positions that is masked, 0.9 where c says nothing; in each image another random
/// `max(floor(r h w), 2)` of them. Two encoders take S's visible and T's masked positions, one shared projection and a decoder
/// follow, and `L = mean (decoded - T)^2` over images,
/// positions and channels. S carries gradient, T, c and the masks are constants. The head is trained with the student, by
/// its optimiser, and thrown away.
///
/// In the released code S and T come from one clean forward each, which the base's clean one is here; a base without one,
/// as `sat`, has it last, for this alone. On robust objectives the paper has nothing: that the maps are those of the clean
/// views, so that a teacher's may be kept, is a choice made here. The attack does not see the loss.
///
/// The paper's own loss, on clean images: `0.8 CE + 0.8 KL + 0.2 L`, with T = 1 and labels smoothed by 0.1 in the released
/// code's two-stage loop (`1`, `1`, `0.3` by its configuration), which on CIFAR-100 is 1.6 times
/// `kd` with `alpha=0.5`, `temperature=1`, `smoothing=0.1` and `dpk=0.125`: its KL is a mean over images and classes, times 100.
///
/// Differences: the head is small by default (4 heads of width 16, one block each); theirs has 8 of 64 or 80, encoders of
/// 4 or 6 blocks, a decoder of 4 and of width 1024, which here has the encoders' width. It is moved by SGD with the student's
/// rate, theirs by `AdamW` at 1e-4 with gradients clipped at 1. The maps that decide the masks are those that are compared;
/// theirs are of the stage that `FEAT_INDEX` names. A batch of fewer than four images has no unbiased CKA: 0.9 is masked.
pub struct Dpk {
    /// Weight of the term.
    pub weight: f64,
    /// Of its heads.
    sizes: Sizes,
    /// What it is added to.
    pub base: Box<dyn Objective>,
}

impl Dpk {
    fn of(options: &Options, base: Box<dyn Objective>) -> Self {
        let count = |choice: Choice| options.get(choice.key) as usize;
        let sizes = Sizes {
            heads: count(HEADS),
            width: count(WIDTH),
            encoder: count(DEPTH),
            decoder: count(DECODER),
        };
        Self { weight: options.get(WEIGHT.key), sizes, base }
    }

    fn asks() -> Needs {
        Needs::teacher(Asked::for_maps([Forward::Clean]))
    }

    /// The loss of one tap.
    fn tap(&self, number: usize, student: &Tensor, teacher: &Tensor, targets: &Targets) -> Result<Tensor> {
        let teacher = teacher.detach().to_dtype(student.dtype())?;
        let (_, _, height, width) = teacher.dims4()?;
        let student = resize::resized(student, [height, width])?;
        let similarity = ratio::cka(&student.detach(), &teacher)?;
        let masked = mask::count(height * width, ratio::masked(similarity));
        let mask = mask::Mask::draw(targets, number, height * width, masked)?;
        let fusion = Fusion { sizes: self.sizes, leaves: &targets.heads, tap: number };
        let found = fusion.decode(&student, &teacher, &mask)?;
        (found - fusion::tokens(&teacher)?)?.sqr()?.mean_all()
    }
}

impl Around for Dpk {
    fn base(&self) -> &dyn Objective {
        self.base.as_ref()
    }

    fn needs(&self) -> Needs {
        self.base.needs().and(Self::asks())
    }

    fn needs_in(&self, epoch: Epoch) -> Needs {
        self.base.needs_in(epoch).and(Self::asks())
    }

    fn forwards(&self, epoch: Epoch) -> Vec<Forward> {
        let mut forwards = self.base.forwards(epoch);
        if !forwards.contains(&Forward::Clean) {
            forwards.push(Forward::Clean);
        }
        forwards
    }

    fn loss(&self, said: &Said, targets: &Targets) -> Result<Tensor> {
        let mut loss = self.base.loss(said, targets)?;
        let maps = said.maps(Forward::Clean).iter().zip(targets.teacher.maps(Forward::Clean));
        for (number, (student, teacher)) in maps.enumerate() {
            let share = SHARES[number.min(1)] * self.weight;
            let apart = self.tap(number, student, teacher, targets)?;
            loss = (loss + (apart * share)?)?;
        }
        Ok(loss)
    }

    fn heads(&self, maps: &MapShapes) -> std::result::Result<Vec<Fresh>, HeadsError> {
        let mut wanted = self.base.heads(maps)?;
        for (number, (student, teacher)) in maps.student.iter().zip(&maps.teacher).enumerate() {
            let [_, height, width] = *teacher;
            let [least, most] = POSITIONS;
            if !(least..=most).contains(&(height * width)) {
                return Err(HeadsError::Map { tap: number + 1, map: [height, width], least, most });
            }
            wanted.extend(self.sizes.wanted(number, student[0], teacher[0]));
        }
        Ok(wanted)
    }
}

/// In f64: similarities over a batch are differences of large sums.
fn wide(map: &Tensor) -> Result<Tensor> {
    map.flatten_from(1)?.to_dtype(DType::F64)
}
