//! Pieces of a device's memory.

use std::sync::Arc;

use cudarc::driver::CudaSlice;

use super::arguments::Address;
use super::device::Device;

/// A piece of the device's memory, given back for the next use when dropped.
pub(super) struct Buffer {
    slice: Option<CudaSlice<u8>>,
    address: Address,
    device: Arc<Device>,
}

impl Buffer {
    /// Memory of a device that begins at an address.
    pub(super) fn new(slice: CudaSlice<u8>, address: Address, device: Arc<Device>) -> Self {
        Self { slice: Some(slice), address, device }
    }

    /// Where it begins.
    pub(super) fn address(&self) -> Address {
        self.address
    }

    /// Whose it is.
    pub(super) fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// The driver's own handle.
    pub(super) fn slice(&self) -> &CudaSlice<u8> {
        self.slice.as_ref().expect("only a drop takes it")
    }

    /// The same, to write it.
    pub(super) fn slice_mut(&mut self) -> &mut CudaSlice<u8> {
        self.slice.as_mut().expect("only a drop takes it")
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(slice) = self.slice.take() {
            self.device.give_back(slice);
        }
    }
}
