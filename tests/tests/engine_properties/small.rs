//! Networks small enough to be run many times, and inputs for them.

use candle_core::{Device, Tensor};
use engine::params::{Precision, Role};
use engine::{BatchStats, Engine, Grads, Keep, Network, Norm, Params};
use method::init::initialise;
use method::rng::{Purpose, Stream};
use zoo::Task;

/// An architecture, its values, and inputs.
pub struct Small {
    pub network: Network,
    pub params: Params,
}

/// The network with drawn values, running statistics and BatchNorm scales off their initial ones.
pub fn network(name: &str, input: [usize; 3], precision: Precision) -> Small {
    let (row, network) = zoo::build(name, Task { input, classes: 10 }).unwrap();
    let mut params = initialise(&network, row.init, 1, precision);
    let layout = network.layout().clone();
    for (number, entry) in layout.statistics().iter().enumerate() {
        let values = uniform(900 + number, entry.range.len());
        for (place, value) in entry.range.clone().zip(values) {
            let centre = if entry.role == Role::RunningVar { 0.75 } else { -0.25 };
            params.statistics_mut().set(place, centre + 0.5 * value);
        }
    }
    Small { network, params }
}

/// Uniform values in [0, 1) from a stream of their own.
pub fn uniform(stream: usize, count: usize) -> Vec<f64> {
    let mut values = vec![0.0; count];
    Stream::new(2, Purpose::Eval, 0, stream).uniforms(&mut values);
    values
}

impl Small {
    /// Images `(N, C, H, W)`; image i is the same in every batch.
    pub fn images(&self, ids: &[usize]) -> Tensor {
        let [channels, height, width] = self.network.input();
        let values: Vec<f64> = ids.iter().flat_map(|&id| uniform(id, channels * height * width)).collect();
        let images = Tensor::from_vec(values, (ids.len(), channels, height, width), &Device::Cpu).unwrap();
        images.to_dtype(self.params.precision().dtype()).unwrap()
    }

    /// A gradient at the logits, which image i shares in every batch.
    pub fn seed(&self, ids: &[usize]) -> Tensor {
        let classes = self.network.classes();
        let values: Vec<f64> = ids.iter().flat_map(|&id| uniform(500 + id, classes)).collect();
        let seed = (Tensor::from_vec(values, (ids.len(), classes), &Device::Cpu).unwrap() - 0.5).unwrap();
        seed.to_dtype(self.params.precision().dtype()).unwrap()
    }

    /// Logits, image gradient and parameter gradients of one forward and one backward.
    pub fn run(&self, engine: &dyn Engine, ids: &[usize], norm: Norm) -> Run {
        let images = self.images(ids).into();
        let pass = engine.forward(&self.network, &self.params, &images, norm, Keep::Both, &[]).unwrap();
        let mut grads = self.grads();
        let image = engine.backward(pass.tape, &[Some(self.seed(ids))], Some(&mut grads)).unwrap().unwrap();
        let mut moved = self.params.clone();
        engine.move_statistics(&self.network, &mut moved, &pass.stats).unwrap();
        Run { logits: pass.logits, image, grads, stats: pass.stats, moved }
    }

    /// Gradients, all zero.
    pub fn grads(&self) -> Grads {
        Grads::zeros(self.network.layout(), self.params.precision())
    }
}

pub struct Run {
    pub logits: Tensor,
    pub image: Tensor,
    pub grads: Grads,
    /// Of the forward.
    pub stats: BatchStats,
    /// The parameters with running statistics moved.
    pub moved: Params,
}

/// The bits of each image's part of an f32 tensor.
pub fn bits_per_image(tensor: &Tensor) -> Vec<Vec<u32>> {
    let rows = tensor.flatten_from(1).unwrap().to_vec2::<f32>().unwrap();
    rows.into_iter().map(|row| row.into_iter().map(f32::to_bits).collect()).collect()
}
