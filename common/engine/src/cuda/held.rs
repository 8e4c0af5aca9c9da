//! Values that lie on the device: this engine's side of [`Values`] and [`Images`].

use std::sync::Arc;

use candle_core::{DType, Storage as CpuMemory, Tensor};

use super::arguments::Address;
use super::buffer::Buffer;
use super::device::Device;
use super::error::DeviceError;
use super::precision::Storage;
use super::train;
use crate::error::EngineError;
use crate::host;
use crate::images::Images;
use crate::params::{Arena, Precision, Remote, Values};

/// f32 on a device.
pub(super) struct Held {
    buffer: Buffer,
    count: usize,
}

impl Held {
    /// Copied from the host.
    pub(super) fn upload(device: &Arc<Device>, values: &[f32]) -> Result<Self, DeviceError> {
        Ok(Self { buffer: device.upload(values)?, count: values.len() })
    }

    /// All zeros.
    pub(super) fn zeros(device: &Arc<Device>, count: usize) -> Result<Self, DeviceError> {
        Ok(Self { buffer: device.zeros(count * size_of::<f32>())?, count })
    }

    /// Holding anything.
    pub(super) fn room(device: &Arc<Device>, count: usize) -> Result<Self, DeviceError> {
        Ok(Self { buffer: device.take(count * size_of::<f32>())?, count })
    }

    /// The same values in a buffer of their own.
    pub(super) fn copied(&self) -> Result<Self, DeviceError> {
        let copy = Self::room(self.buffer.device(), self.count)?;
        self.buffer.device().copy_floats(self.address(), copy.address(), self.count)?;
        Ok(copy)
    }

    /// Where they begin.
    pub(super) fn address(&self) -> Address {
        self.buffer.address()
    }

    fn is_on(&self, device: &Arc<Device>) -> bool {
        Arc::ptr_eq(self.buffer.device(), device)
    }
}

impl Remote for Held {
    fn fetch(&self) -> Arena {
        let values = self.buffer.device().download(&self.buffer, self.count);
        // Whoever reads values has no way to hear of a device that stopped answering; checkpoints stand.
        Arena::F32(values.unwrap_or_else(|error| panic!("values on the GPU are lost: {error}")))
    }
}

/// Values that are read on the device, and stay as they are for as long as this lives.
pub(super) struct Reading {
    held: Arc<dyn Remote>,
    address: Address,
}

impl Reading {
    /// Where they begin.
    pub(super) fn address(&self) -> Address {
        self.address
    }

    fn of(held: Arc<Held>) -> Self {
        Self { address: held.address(), held }
    }
}

/// What is kept of this on `device`, if anything is.
fn kept(remote: Option<&Arc<dyn Remote>>, device: &Arc<Device>) -> Option<Reading> {
    let held = remote?;
    let address = held.of::<Held>().filter(|held| held.is_on(device))?.address();
    Some(Reading { held: held.clone(), address })
}

/// Values to read; copied to the device unless they are there.
pub(super) fn read(device: &Arc<Device>, values: &Values) -> Result<Reading, DeviceError> {
    if let Some(reading) = kept(values.remote(), device) {
        return Ok(reading);
    }
    let reading = Reading::of(Arc::new(Held::upload(device, floats(values.host()))?));
    values.keep_remote(reading.held.clone());
    Ok(reading)
}

/// Images to read; copied to the device unless they are there.
pub(super) fn images(device: &Arc<Device>, images: &Images) -> Result<Reading, EngineError> {
    if let Some(reading) = kept(images.remote(), device) {
        return Ok(reading);
    }
    // From where they lie: a copy on the host would take as long as the way to the device.
    let pixels = images.tensor()?.contiguous()?;
    let (storage, layout) = pixels.storage_and_layout();
    let (CpuMemory::Cpu(values), Some((first, end))) = (&*storage, layout.contiguous_offsets()) else {
        unreachable!("images lie in the host's memory, and were made contiguous")
    };
    let reading = Reading::of(Arc::new(Held::upload(device, &values.as_slice::<f32>()?[first..end])?));
    images.keep_remote(reading.held.clone());
    Ok(reading)
}

/// Images and so much of these offsets, which go there already multiplied: the host's two roundings.
pub(super) fn shift(
    device: &Arc<Device>,
    storage: Storage,
    from: &Images,
    offsets: &Tensor,
    by: f64,
) -> Result<Images, EngineError> {
    let &[count, channels, height, width] = from.shape() else { return host::shift(from, offsets, by) };
    // What does not fit together, or is f64, is the host's to refuse or to do.
    if from.dtype() != DType::F32 || offsets.dtype() != DType::F32 || offsets.dims() != from.shape() {
        return host::shift(from, offsets, by);
    }
    let (from, values) = (images(device, from)?, (offsets * by)?.flatten_all()?.to_vec1::<f32>()?);
    let (offsets, to) = (device.upload(&values)?, Held::room(device, values.len())?);
    device.copy_floats(from.address(), to.address(), values.len())?;
    train::add(device.kernels(storage), offsets.address(), to.address(), 1.0, values.len())?;
    Ok(Images::elsewhere(Arc::new(to), [count, channels, height, width], Precision::F32))
}

/// Where values lie on the device, to change them there, which nobody else sees: who shares them keeps the old ones.
pub(super) fn write(device: &Arc<Device>, values: &mut Values) -> Result<Address, DeviceError> {
    let own = match kept(values.remote(), device) {
        // Only the values themselves hold it: besides this look at it, which is dropped.
        Some(Reading { held, address }) if Arc::strong_count(&held) == 2 => {
            drop(held);
            values.remote_mut();
            return Ok(address);
        }
        Some(Reading { held, .. }) => held.of::<Held>().expect("it is this device's").copied()?,
        None => Held::upload(device, floats(values.host()))?,
    };
    let address = own.address();
    values.set_remote(Arc::new(own));
    Ok(address)
}

/// Sets values to zero, in place where nobody else sees them: who shares them keeps the old ones.
pub(super) fn clear(device: &Arc<Device>, values: &mut Values) -> Result<(), DeviceError> {
    if let Some(Reading { held, address }) = kept(values.remote(), device)
        && Arc::strong_count(&held) == 2
    {
        drop(held);
        values.remote_mut();
        return device.clear_at(address, values.len() * size_of::<f32>());
    }
    values.set_remote(Arc::new(Held::zeros(device, values.len())?));
    Ok(())
}

fn floats(arena: &Arena) -> &[f32] {
    match arena {
        Arena::F32(values) => values,
        Arena::F64(_) => unreachable!("this engine refuses f64 before it runs"),
    }
}
