//! Why a GPU cannot be used.

/// Why a GPU cannot be used, or stopped.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message beside each variant says what its fields are")]
pub enum DeviceError {
    #[error("no NVIDIA driver on this machine (libcuda.so.1 was not found)\nhint: --device cpu")]
    NoDriver,
    #[error(
        "the NVIDIA driver is for CUDA {}.{}, too old for these kernels\nhint: update it to 525 or newer (CUDA 12.0), \
         or --device cpu", .version / 1000, .version % 1000 / 10
    )]
    OldDriver { version: i32 },
    #[error(
        "the NVIDIA driver finds no GPU: {0}\nhint: look at nvidia-smi and CUDA_VISIBLE_DEVICES, or --device cpu"
    )]
    NoDevice(String),
    #[error("no GPU {wanted}: this machine has {count}, counted from 0\nhint: --device cuda:0")]
    NoSuchDevice { wanted: usize, count: usize },
    #[error(
        "{name} has compute capability {}.{}, and {precision} needs {}.{}\nhint: {hint}", .capability.0, .capability.1, .least.0, .least.1
    )]
    OldDevice {
        name: String,
        capability: (i32, i32),
        precision: &'static str,
        least: (i32, i32),
        hint: &'static str,
    },
    #[error("out of memory on the GPU: {} more wanted, {} of {} free\nhint: {hint}", mib(*.wanted), mib(*.free), mib(*.total))]
    Memory { wanted: usize, free: usize, total: usize, hint: String },
    #[error(
        "{network}, a batch of {images}, needs {} on the GPU, where {} of {} are free\nhint: {hint}",
        mib(*.wanted), mib(*.free), mib(*.total)
    )]
    NoRoom { network: String, images: usize, wanted: usize, free: usize, total: usize, hint: String },
    #[error("a batch of {images} is more than the GPU's kernels count\nhint: --batch {most} is the largest")]
    Batch { images: usize, most: usize },
    #[error(
        "a map of {height}x{width} has more rows or columns than the GPU's kernels count, {most}\nhint: --device cpu"
    )]
    Map { height: usize, width: usize, most: usize },
    #[error("the GPU failed: {call}: {error}")]
    Failed { call: &'static str, error: String },
}

fn mib(bytes: usize) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}
