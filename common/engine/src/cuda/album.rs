//! A data set's images of 8 bits on the device, and the views that are cut out of them there.

use std::sync::Arc;

use super::arguments::{Cut, View};
use super::buffer::Buffer;
use super::conv::int;
use super::device::{Device, Grid};
use super::held::Held;
use super::precision::Storage;
use crate::album::{Album, Cutting};
use crate::error::EngineError;
use crate::images::Images;
use crate::params::Precision;

/// An album is kept where it takes at most this part of the memory that is free when it is first asked for: what training
/// was said to need is counted without it.
const SHARE: usize = 32;

fn fits(bytes: usize, free: usize) -> bool {
    bytes <= free / SHARE
}

/// Cuts views, where the album is kept on this device; it is brought there by the first call.
pub(super) fn cut(
    device: &Arc<Device>,
    storage: Storage,
    album: &Album<'_>,
    views: &[Cutting],
) -> Result<Option<Images>, EngineError> {
    album.check(views)?;
    let kept = if let Some(kept) = album.shelf.0.get() {
        kept
    } else {
        let [free, _] = device.free_memory()?;
        let buffer = fits(album.pixels.len(), free).then(|| device.upload(album.pixels)).transpose()?;
        album.shelf.0.get_or_init(|| buffer.map(|buffer| Box::new(buffer) as _))
    };
    let buffer = kept.as_ref().and_then(|kept| kept.downcast_ref::<Buffer>());
    let Some(buffer) = buffer.filter(|buffer| Arc::ptr_eq(buffer.device(), device)) else { return Ok(None) };
    let [channels, height, width] = album.shape;
    let count = views.len();
    let views: Vec<View> = views.iter().map(View::from).collect();
    let views = device.upload(&views)?;
    let size = count * channels * height * width;
    let to = Held::room(device, size)?;
    let cut = Cut {
        images: buffer.address(),
        views: views.address(),
        to: to.address(),
        count: int(count),
        channels: int(channels),
        height: int(height),
        width: int(width),
    };
    if count > 0 {
        device.kernels(storage).launch("cut", Grid::of(size), &cut)?;
    }
    Ok(Some(Images::elsewhere(Arc::new(to), [count, channels, height, width], Precision::F32)))
}

impl From<&Cutting> for View {
    fn from(view: &Cutting) -> Self {
        let &Cutting { image, down, right, mirrored } = view;
        Self { source: int(image), dy: down, dx: right, mirrored: mirrored.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CIFAR's training images are 50,000 of 3072 bytes: 154 MB.
    #[test]
    fn an_album_is_kept_where_it_takes_a_thirty_second_of_the_free_memory_at_most() {
        let cifar = 50_000 * 3072;
        assert!(fits(cifar, 8 << 30) && fits(cifar, 32 * cifar));
        assert!(!fits(cifar, 4 << 30) && !fits(cifar, 32 * cifar - 1));
    }
}
