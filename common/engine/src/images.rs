//! A batch of images and where it lies: on the host, where an engine computes, or both.

use std::sync::{Arc, OnceLock};

use candle_core::{DType, Device, Shape, Tensor};

use crate::error::EngineError;
use crate::params::{Arena, Precision, Remote};

/// A batch of images `(N, C, H, W)`, pixels in [0, 1], in f32 or f64.
///
/// It never changes. Clones are one batch: what an engine keeps of it, and what was copied back, all of them have.
#[derive(Clone)]
pub struct Images(Arc<Batch>);

struct Batch {
    host: OnceLock<Tensor>,
    remote: OnceLock<Arc<dyn Remote>>,
    shape: Shape,
    dtype: DType,
}

impl Images {
    /// Where an engine computes: values that it calculated there, fetched in (image, channel, row, column) order.
    pub fn elsewhere(remote: Arc<dyn Remote>, shape: [usize; 4], precision: Precision) -> Self {
        let (host, remote) = (OnceLock::new(), OnceLock::from(remote));
        Self(Arc::new(Batch { host, remote, shape: Shape::from(shape.to_vec()), dtype: precision.dtype() }))
    }

    /// Its extents, `[N, C, H, W]` unless somebody made images of another tensor, which every engine refuses.
    pub fn shape(&self) -> &[usize] {
        self.0.shape.dims()
    }

    /// How many images.
    pub fn len(&self) -> usize {
        self.shape().first().copied().unwrap_or_default()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type of a pixel.
    pub fn dtype(&self) -> DType {
        self.0.dtype
    }

    /// The pixels on the host; copied there on the first wish. Fails where candle cannot hold them.
    pub fn tensor(&self) -> Result<&Tensor, EngineError> {
        let Batch { host, remote, shape, .. } = &*self.0;
        if let Some(tensor) = host.get() {
            return Ok(tensor);
        }
        let tensor = match remote.get().expect("images lie on one side at least").fetch() {
            Arena::F32(values) => Tensor::from_vec(values, shape, &Device::Cpu)?,
            Arena::F64(values) => Tensor::from_vec(values, shape, &Device::Cpu)?,
        };
        Ok(host.get_or_init(|| tensor))
    }

    /// Where an engine computes; none before one has kept them there.
    pub fn remote(&self) -> Option<&Arc<dyn Remote>> {
        self.0.remote.get()
    }

    /// Keeps an engine's copy, so that it need not be made again. Where one is kept already, that stays.
    pub fn keep_remote(&self, remote: Arc<dyn Remote>) {
        // Two calls that read the same images at once both have made a right copy; the first one's stays.
        let _ = self.0.remote.set(remote);
    }
}

impl From<Tensor> for Images {
    fn from(tensor: Tensor) -> Self {
        let (shape, dtype) = (tensor.shape().clone(), tensor.dtype());
        Self(Arc::new(Batch { host: OnceLock::from(tensor), remote: OnceLock::new(), shape, dtype }))
    }
}

impl From<&Tensor> for Images {
    fn from(tensor: &Tensor) -> Self {
        tensor.clone().into()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    static FETCHES: AtomicUsize = AtomicUsize::new(0);

    struct Far;

    impl Remote for Far {
        fn fetch(&self) -> Arena {
            FETCHES.fetch_add(1, Ordering::SeqCst);
            Arena::F32(vec![0.25, 0.5])
        }
    }

    #[test]
    fn clones_are_one_batch_that_is_copied_back_once() {
        let images = Images::elsewhere(Arc::new(Far), [2, 1, 1, 1], Precision::F32);
        let clone = images.clone();
        for images in [&images, &clone, &images] {
            let pixels = images.tensor().unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!((pixels, images.len()), (vec![0.25, 0.5], 2));
        }
        assert_eq!(FETCHES.load(Ordering::SeqCst), 1);
        let host = Images::from(images.tensor().unwrap());
        host.clone().keep_remote(Arc::new(Far));
        assert!(host.remote().is_some_and(|remote| remote.of::<Far>().is_some()));
    }
}
