//! The driver: whether there is one, and what it finds.

use cudarc::driver::sys::CUdevice_attribute as Attribute;
use cudarc::driver::{CudaContext, result, sys};

use super::device::{failed, name_of};
use super::error::DeviceError;
use super::precision::Storage;

/// Drivers from this CUDA version on read the kernels' PTX.
const OLDEST_DRIVER: i32 = 12000;

/// A GPU by its number, where it is new enough for any of the kernels: its name.
pub(crate) fn usable(ordinal: usize) -> Result<String, DeviceError> {
    let count = devices()?;
    let number = i32::try_from(ordinal).ok().filter(|_| ordinal < count);
    let number = number.ok_or(DeviceError::NoSuchDevice { wanted: ordinal, count })?;
    let device = result::device::get(number).map_err(failed("cuDeviceGet"))?;
    let name = result::device::get_name(device).map_err(failed("cuDeviceGetName"))?;
    let [major, minor] = [
        Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
        Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
    ]
    .map(|attribute| {
        // SAFETY: reads a number of a device that the driver knows.
        #[allow(unsafe_code)]
        unsafe { result::device::get_attribute(device, attribute) }.map_err(failed("cuDeviceGetAttribute"))
    });
    let capability = (major?, minor?);
    if capability >= Storage::F16.capability() {
        return Ok(name);
    }
    let (precision, hint) = (Storage::F16.name(), "--device cpu");
    let least = Storage::F16.capability();
    Err(DeviceError::OldDevice { name, capability, precision, least, hint })
}

/// What a machine has of GPUs, or why it has none.
pub(super) fn devices() -> Result<usize, DeviceError> {
    // SAFETY: looks for a library by its name.
    #[allow(unsafe_code)]
    if !unsafe { sys::is_culib_present() } {
        return Err(DeviceError::NoDriver);
    }
    let count = CudaContext::device_count().map_err(|error| DeviceError::NoDevice(name_of(error)))?;
    let mut version = 0;
    // SAFETY: writes one number.
    #[allow(unsafe_code)]
    unsafe { sys::cuDriverGetVersion(&raw mut version) }.result().map_err(failed("cuDriverGetVersion"))?;
    if version < OLDEST_DRIVER {
        return Err(DeviceError::OldDriver { version });
    }
    match usize::try_from(count) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(DeviceError::NoDevice("it counts 0".into())),
    }
}
