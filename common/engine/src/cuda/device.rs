//! The device: the driver's calls, each with its error; memory that is used again; launches.
//!
//! Everything is queued on one stream, in the order of the calls: a buffer may be used again as soon as the call that
//! read it is queued. Nothing is given back to the driver but when memory runs short.

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use cudarc::driver::sys::CUdevice_attribute as Attribute;
use cudarc::driver::{CudaContext, CudaSlice, CudaStream, DevicePtr, DriverError, result, sys};

use super::arguments::{Address, Arguments};
use super::buffer::Buffer;
use super::card::Card;
use super::conv::most_shared;
use super::driver::devices;
use super::error::DeviceError;
use super::graph::Graph;
use super::passage::Graphs;
use super::precision::Storage;

/// Buffers are rounded up to this many bytes, so that they fit more than one use.
const GRAIN: usize = 512;

/// A GPU.
pub(super) struct Device {
    stream: Arc<CudaStream>,
    context: Arc<CudaContext>,
    modules: Mutex<HashMap<Storage, Modules>>,
    kernels: Mutex<HashMap<(Storage, &'static str), Kernel>>,
    capability: (i32, i32),
    /// Held while a graph is captured, and by whoever copies: a copy of another thread would end up in the graph.
    turn: Mutex<()>,
    spare: Mutex<HashMap<usize, Vec<CudaSlice<u8>>>>,
    /// What its engine has captured: the memory that may go first.
    graphs: OnceLock<Weak<Graphs>>,
    /// Kernels and graphs that were queued.
    calls: AtomicUsize,
    /// Multiprocessors.
    processors: usize,
}

/// The kernels of a GPU for one way to store maps.
#[derive(Clone, Copy)]
pub(super) struct Kernels<'a> {
    pub(super) device: &'a Device,
    pub(super) storage: Storage,
}

impl Kernels<'_> {
    /// Multiprocessors.
    pub(super) fn processors(self) -> usize {
        self.device.processors()
    }

    /// Queues a kernel, named without the suffix of its storage.
    pub(super) fn launch<A: Arguments>(
        self,
        kernel: &'static str,
        grid: Grid,
        arguments: &A,
    ) -> Result<(), DeviceError> {
        self.device.launch((self.storage, kernel), grid, arguments)
    }
}

/// The kernels of a storage: those of every chip, and those of this one's warpgroups.
struct Modules(Module, Option<Module>);
#[derive(Clone, Copy)]
struct Module(sys::CUmodule);
#[derive(Clone, Copy)]
struct Kernel(sys::CUfunction);

// SAFETY: handles of the driver, whose calls may come from any thread.
#[allow(unsafe_code)]
unsafe impl Send for Module {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Module {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Send for Kernel {}

/// How many threads run a kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub(super) blocks: [usize; 3],
    /// Columns and rows of threads in a block.
    pub(super) threads: [u32; 2],
    /// Bytes of shared memory that are asked for at the launch.
    pub(super) shared: usize,
}

impl Grid {
    /// At least `count` threads in a row, 256 to a block.
    pub(super) fn of(count: usize) -> Self {
        Self { blocks: [count.div_ceil(256), 1, 1], threads: [256, 1], shared: 0 }
    }
}

impl Device {
    /// Opens GPU number `ordinal`.
    pub(super) fn open(ordinal: usize) -> Result<Self, DeviceError> {
        let count = devices()?;
        if ordinal >= count {
            return Err(DeviceError::NoSuchDevice { wanted: ordinal, count });
        }
        let context = CudaContext::new(ordinal).map_err(failed("cuDevicePrimaryCtxRetain"))?;
        // SAFETY: everything is on one stream, so that nothing waits for another.
        #[allow(unsafe_code)]
        unsafe {
            context.disable_event_tracking();
        }
        let capability = context.compute_capability().map_err(failed("cuDeviceGetAttribute"))?;
        let processors = context
            .attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
            .map_err(failed("cuDeviceGetAttribute"))?;
        let stream = context.new_stream().map_err(failed("cuStreamCreate"))?;
        let (modules, kernels, spare) = (Mutex::default(), Mutex::default(), Mutex::default());
        let processors = usize::try_from(processors).unwrap_or(1).max(1);
        let (turn, graphs, calls) = (Mutex::default(), OnceLock::new(), AtomicUsize::new(0));
        Ok(Self { stream, context, modules, kernels, capability, turn, spare, graphs, calls, processors })
    }

    /// Whether its tensor cores know this storage.
    pub(super) fn knows(&self, storage: Storage) -> bool {
        self.capability >= storage.capability()
    }

    /// Whether its tensor cores multiply by warpgroups, as those of one generation alone do.
    pub(super) fn has_warpgroups(&self) -> bool {
        self.capability == (9, 0)
    }

    /// Loads the kernels for a storage, unless they are.
    pub(super) fn load(&self, storage: Storage) -> Result<(), DeviceError> {
        if !self.knows(storage) {
            let (name, capability, precision) = (self.name(), self.capability, storage.name());
            let hint = if self.knows(Storage::F16) { "--precision f16" } else { "--device cpu" };
            let least = storage.capability();
            return Err(DeviceError::OldDevice { name, capability, precision, least, hint });
        }
        let mut modules = locked(&self.modules);
        if modules.contains_key(&storage) {
            return Ok(());
        }
        self.context.bind_to_thread().map_err(failed("cuCtxSetCurrent"))?;
        let of_warpgroups = storage.warpgroup_ptx().filter(|_| self.has_warpgroups());
        let loaded = Modules(module(storage.ptx())?, of_warpgroups.map(module).transpose()?);
        modules.insert(storage, loaded);
        Ok(())
    }

    /// Its kernels for one way to store maps.
    pub(super) fn kernels(&self, storage: Storage) -> Kernels<'_> {
        Kernels { device: self, storage }
    }

    /// What it can do.
    pub(super) fn card(&self) -> Card {
        Card::named(&self.name(), self.processors, self.has_warpgroups())
    }

    /// The card's name.
    pub(super) fn name(&self) -> String {
        self.context.name().unwrap_or_else(|_| "GPU".into())
    }

    /// Multiprocessors.
    pub(super) fn processors(&self) -> usize {
        self.processors
    }

    /// Bytes of memory that are free, and bytes in all.
    pub(super) fn free_memory(&self) -> Result<[usize; 2], DeviceError> {
        let (free, total) = self.context.mem_get_info().map_err(failed("cuMemGetInfo"))?;
        Ok([free, total])
    }

    /// A buffer of at least this many bytes, holding anything.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Result<Buffer, DeviceError> {
        let bytes = bytes.next_multiple_of(GRAIN).max(GRAIN);
        let spare = locked(&self.spare).get_mut(&bytes).and_then(Vec::pop);
        let slice = match spare {
            Some(slice) => slice,
            None => self.allocate(bytes)?,
        };
        let address = slice.device_ptr(&self.stream).0;
        Ok(Buffer::new(slice, address, self.clone()))
    }

    /// Where its engine keeps graphs, which memory may be taken from.
    pub(super) fn may_drop(&self, graphs: &Arc<Graphs>) {
        // There is one engine to a device.
        let _ = self.graphs.set(Arc::downgrade(graphs));
    }

    /// Kernels and graphs that were queued so far.
    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Counts one more.
    pub(super) fn called(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Memory that nobody uses any more.
    pub(super) fn give_back(&self, slice: CudaSlice<u8>) {
        locked(&self.spare).entry(slice.len()).or_default().push(slice);
    }

    fn allocate(&self, bytes: usize) -> Result<CudaSlice<u8>, DeviceError> {
        // SAFETY: bytes are bytes, whatever they hold; kernels write before they read.
        #[allow(unsafe_code)]
        let once = || unsafe { self.stream.alloc::<u8>(bytes) };
        once().or_else(|_| {
            // Graphs can be captured again.
            if let Some(graphs) = self.graphs.get().and_then(Weak::upgrade) {
                graphs.clear();
            }
            locked(&self.spare).clear();
            self.synchronize()?;
            once().map_err(|error| {
                let Ok((free, total)) = self.context.mem_get_info() else {
                    return failed("cuMemAlloc")(error);
                };
                DeviceError::Memory {
                    wanted: bytes,
                    free,
                    total,
                    hint: "a smaller --batch, or --device cpu".into(),
                }
            })
        })
    }

    /// The same, all zeros.
    pub(super) fn zeros(self: &Arc<Self>, bytes: usize) -> Result<Buffer, DeviceError> {
        let mut buffer = self.take(bytes)?;
        self.clear(&mut buffer)?;
        Ok(buffer)
    }

    pub(super) fn clear(&self, buffer: &mut Buffer) -> Result<(), DeviceError> {
        self.stream.memset_zeros(buffer.slice_mut()).map_err(failed("cuMemsetD8Async"))
    }

    /// Zeros from a place on.
    pub(super) fn clear_at(&self, at: Address, bytes: usize) -> Result<(), DeviceError> {
        self.context.bind_to_thread().map_err(failed("cuCtxSetCurrent"))?;
        // SAFETY: the place is inside a buffer that its owner keeps.
        #[allow(unsafe_code)]
        unsafe { result::memset_d8_async(at, 0, bytes, self.stream.cu_stream()) }
            .map_err(failed("cuMemsetD8Async"))
    }

    /// Copies values to a buffer of its own.
    pub(super) fn upload<T: bytemuck::NoUninit>(
        self: &Arc<Self>,
        values: &[T],
    ) -> Result<Buffer, DeviceError> {
        let mut buffer = self.take(size_of_val(values))?;
        self.fill(&mut buffer, values)?;
        Ok(buffer)
    }

    /// Copies values to the beginning of a buffer.
    pub(super) fn fill<T: bytemuck::NoUninit>(
        &self,
        buffer: &mut Buffer,
        values: &[T],
    ) -> Result<(), DeviceError> {
        let _turn = locked(&self.turn);
        let bytes: &[u8] = bytemuck::cast_slice(values);
        self.stream.memcpy_htod(bytes, buffer.slice_mut()).map_err(failed("cuMemcpyHtoDAsync"))
    }

    /// Copies the first values of a buffer back, once everything that is queued is done.
    pub(super) fn download<T: bytemuck::Pod>(
        &self,
        buffer: &Buffer,
        count: usize,
    ) -> Result<Vec<T>, DeviceError> {
        let mut values = vec![T::zeroed(); count];
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut values);
        let view = buffer.slice().slice(..bytes.len());
        let _turn = locked(&self.turn);
        self.stream.memcpy_dtoh(&view, bytes).map_err(failed("cuMemcpyDtoHAsync"))?;
        self.synchronize()?;
        Ok(values)
    }

    /// Copies f32 from one place on the device to another.
    pub(super) fn copy_floats(&self, from: Address, to: Address, count: usize) -> Result<(), DeviceError> {
        self.context.bind_to_thread().map_err(failed("cuCtxSetCurrent"))?;
        // SAFETY: both places are inside buffers that their owners keep.
        #[allow(unsafe_code)]
        unsafe { result::memcpy_dtod_async(to, from, count * size_of::<f32>(), self.stream.cu_stream()) }
            .map_err(failed("cuMemcpyDtoDAsync"))
    }

    /// Waits for everything that is queued.
    pub(super) fn synchronize(&self) -> Result<(), DeviceError> {
        self.stream.synchronize().map_err(failed("cuStreamSynchronize"))
    }

    fn launch<A: Arguments>(
        &self,
        kernel: (Storage, &'static str),
        grid: Grid,
        arguments: &A,
    ) -> Result<(), DeviceError> {
        if grid.blocks.contains(&0) {
            return Ok(());
        }
        let function = self.kernel(kernel)?;
        self.called();
        let blocks = grid.blocks.map(|blocks| u32::try_from(blocks).expect("a grid fits the device"));
        let mut pointers = [std::ptr::from_ref(arguments).cast_mut().cast::<c_void>()];
        self.context.bind_to_thread().map_err(failed("cuCtxSetCurrent"))?;
        // SAFETY: `Arguments` have the layout of the kernel's one parameter, and are copied by the call.
        #[allow(unsafe_code)]
        unsafe {
            result::launch_kernel(
                function.0,
                (blocks[0], blocks[1], blocks[2]),
                (grid.threads[0], grid.threads[1], 1),
                u32::try_from(grid.shared).expect("shared memory is small"),
                self.stream.cu_stream(),
                &mut pointers,
            )
        }
        .map_err(failed(kernel.1))
    }

    fn kernel(&self, (storage, name): (Storage, &'static str)) -> Result<Kernel, DeviceError> {
        if let Some(kernel) = locked(&self.kernels).get(&(storage, name)) {
            return Ok(*kernel);
        }
        self.load(storage)?;
        let split = name.contains("split");
        let module = {
            let Modules(common, of_warpgroups) = &locked(&self.modules)[&storage];
            of_warpgroups.filter(|_| split).unwrap_or(*common).0
        };
        let full = CString::new(format!("{name}_{storage}")).expect("a name has no zeros");
        // SAFETY: the module lives as long as the process.
        #[allow(unsafe_code)]
        let function = unsafe { result::module::get_function(module, full) }.map_err(failed(name))?;
        // Products ask for more shared memory than the 48 KiB that every kernel may have.
        if name.starts_with("conv_") || name.starts_with("split_") || name == "weight_gradient" {
            let most = i32::try_from(most_shared(storage, split)).expect("shared memory is small");
            let wish = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: sets a number of the function.
            #[allow(unsafe_code)]
            unsafe { sys::cuFuncSetAttribute(function, wish, most) }.result().map_err(failed(name))?;
        }
        locked(&self.kernels).insert((storage, name), Kernel(function));
        Ok(Kernel(function))
    }

    /// Queues what `queue` queues as one graph, which can be launched again and again. Nothing in it may allocate.
    pub(super) fn capture(
        &self,
        queue: impl FnOnce() -> Result<(), DeviceError>,
    ) -> Result<Graph, DeviceError> {
        let _turn = locked(&self.turn);
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        self.stream.begin_capture(mode).map_err(failed("cuStreamBeginCapture"))?;
        let queued = queue();
        let graph =
            self.stream.end_capture(sys::CUgraphInstantiate_flags(0)).map_err(failed("cuStreamEndCapture"));
        queued?;
        graph?
            .map(Graph)
            .ok_or_else(|| DeviceError::Failed { call: "cuStreamEndCapture", error: "no graph".into() })
    }
}

/// Gives the text of a module to the driver. A context is current.
fn module(ptx: &str) -> Result<Module, DeviceError> {
    let ptx = CString::new(ptx).expect("PTX is text");
    // SAFETY: the text of a module, ended by a zero.
    #[allow(unsafe_code)]
    let module = unsafe { result::module::load_data(ptx.as_ptr().cast()) };
    module.map(Module).map_err(failed("cuModuleLoadData"))
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The driver's own words for an error.
pub(super) fn name_of(error: DriverError) -> String {
    match error.error_string() {
        Ok(text) => text.to_string_lossy().into_owned(),
        Err(_) => format!("{:?}", error.0),
    }
}

pub(super) fn failed(call: &'static str) -> impl Fn(DriverError) -> DeviceError {
    move |error| DeviceError::Failed { call, error: name_of(error) }
}
