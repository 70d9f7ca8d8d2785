//! A graphics card by WebGPU: buffers, dispatches of shaders, burn's tensors, and numbers brought back.
//!
//! One device and one queue serve the shaders and burn: what either computes, the other takes over by a copy on the card.
//! Nothing here waits for the card but [`Gpu::read`]: dispatches are queued, and run in the order in which they were.
//!
//! **Invariants.** What is written into a buffer is there before everything that is queued later, and after everything that
//! was queued before. Nothing that failed on the card is ever taken for a result: what it reports, whenever it does, is the
//! error of the reading under way or of the next one.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use burn::cubecl::wgpu::WgpuServer;
use burn::tensor::{Device, Tensor};
use burn_wgpu::{AutoCompiler, CubeBackend, CubeTensor, WgpuSetup, wgpu};

use crate::shaders::Shader;
use crate::{Error, ErrorKind, Result};

/// An open graphics card, and the shaders that were compiled for it.
pub(crate) struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    /// The same device and queue.
    burn: Device,
    pipelines: RefCell<HashMap<Shader, wgpu::ComputePipeline>>,
    report: Arc<Mutex<Report>>,
}

/// What a card said unasked.
#[derive(Default)]
struct Report {
    failure: Option<String>,
    waker: Option<Waker>,
}

impl Report {
    fn tell(report: &Mutex<Report>, failure: String) {
        let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
        report.failure.get_or_insert(failure);
        if let Some(waker) = report.waker.take() {
            waker.wake();
        }
    }
}

/// Numbers on the card.
pub(crate) struct Buffer(wgpu::Buffer);

/// At once, instead of when the browser next looks for what nobody needs.
impl Drop for Buffer {
    fn drop(&mut self) {
        self.0.destroy();
    }
}

/// A shader with its buffers.
pub(crate) struct Bound {
    pipeline: wgpu::ComputePipeline,
    buffers: wgpu::BindGroup,
    groups: [u32; 3],
}

/// What burn's kernels use where an adapter has it, without asking whether the device was opened with it.
const FEATURES: wgpu::Features = wgpu::Features::SUBGROUP
    .union(wgpu::Features::SHADER_F16)
    .union(wgpu::Features::SHADER_F64)
    .union(wgpu::Features::SHADER_INT64)
    .union(wgpu::Features::SHADER_FLOAT32_ATOMIC);

/// Looks for refusals; they end in the order of the fields.
pub(crate) struct Watch {
    validation: wgpu::ErrorScopeGuard,
    memory: wgpu::ErrorScopeGuard,
    internal: wgpu::ErrorScopeGuard,
}

impl Watch {
    /// What was refused since it began. Whatever is to be watched has been queued when this is called.
    ///
    /// # Errors
    /// `DeviceError` with the card's words.
    fn end(self) -> impl Future<Output = Result<()>> {
        let found = [self.validation.pop(), self.memory.pop(), self.internal.pop()];
        async {
            for error in found {
                if let Some(error) = error.await {
                    return Err(failed("the graphics card refused a command", error));
                }
            }
            Ok(())
        }
    }
}

/// Where the numbers of a tensor lie, row-major and without gaps.
pub(crate) struct Region {
    buffer: wgpu::Buffer,
    offset: u64,
    size: u64,
    /// While it lives nothing else takes its place.
    _tensor: CubeTensor,
}

impl Region {
    /// Everything that burn has queued so far comes before what is queued next.
    fn of<const D: usize>(tensor: Tensor<D>) -> Region {
        let numbers = tensor.shape().num_elements();
        let flat: Tensor<1> = tensor.reshape([numbers]);
        let tensor = flat.try_into_primitive::<CubeBackend>().expect("the tensor is on the card, off the tape");
        tensor.client.flush().expect("the card takes what is queued");
        let resource = tensor.client.get_resource::<WgpuServer<AutoCompiler>>(tensor.handle.clone());
        let resource = resource.expect("the tensor has a buffer");
        let resource = resource.resource();
        Region { buffer: resource.buffer.clone(), offset: resource.offset, size: 4 * numbers as u64, _tensor: tensor }
    }
}

/// What is brought back from the card.
#[allow(clippy::large_enum_variant, reason = "a few of them live at a time")]
pub(crate) enum Wanted<'a> {
    /// So many numbers from a buffer's beginning on.
    Buffer(&'a Buffer, usize),
    Tensor(Region),
}

impl Wanted<'_> {
    /// A tensor's numbers, row-major.
    pub(crate) fn tensor<const D: usize>(tensor: Tensor<D>) -> Wanted<'static> {
        Wanted::Tensor(Region::of(tensor))
    }

    fn place(&self) -> (&wgpu::Buffer, u64, u64) {
        match self {
            Wanted::Buffer(buffer, numbers) => (&buffer.0, 0, 4 * *numbers as u64),
            Wanted::Tensor(region) => (&region.buffer, region.offset, region.size),
        }
    }
}

fn failed(what: &str, reason: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Device, format!("{what}: {reason}"))
}

impl Gpu {
    /// Opens the card that promises most.
    ///
    /// # Errors
    /// `DeviceError` if there is none or it does not open.
    pub(crate) async fn open() -> Result<Gpu> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let wanted = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..wgpu::RequestAdapterOptions::default()
        };
        let adapter = instance.request_adapter(&wanted).await;
        let adapter = adapter.map_err(|error| failed("no graphics card can be had", error))?;
        let descriptor = wgpu::DeviceDescriptor {
            required_features: adapter.features() & FEATURES,
            // Large matrices take more than what every device has to offer.
            required_limits: adapter.limits(),
            ..wgpu::DeviceDescriptor::default()
        };
        let opened = adapter.request_device(&descriptor).await;
        let (device, queue) = opened.map_err(|error| failed("the graphics card does not open", error))?;
        let backend = adapter.get_info().backend;
        let setup = WgpuSetup { instance, adapter, device: device.clone(), queue: queue.clone(), backend };
        let burn = Device::wgpu_options().setup(setup).init();
        let burn = burn.map_err(|error| failed("burn can't use the graphics card", error))?;
        // After burn, whose own would panic.
        let report = Arc::new(Mutex::new(Report::default()));
        let told = report.clone();
        device.on_uncaptured_error(Arc::new(move |error| {
            Report::tell(&told, format!("the graphics card refused a command ({error})"));
        }));
        let told = report.clone();
        device.set_device_lost_callback(move |reason, message| {
            let message = if message.is_empty() { format!("{reason:?}") } else { message };
            Report::tell(&told, format!("the graphics card was lost ({message})"));
        });
        Ok(Gpu { device, queue, burn, pipelines: RefCell::default(), report })
    }

    /// What the card reported that no reading has told of yet.
    fn check(&self) -> Result<()> {
        let report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        match &report.failure {
            Some(failure) => Err(Error::new(ErrorKind::Device, failure.clone())),
            None => Ok(()),
        }
    }

    /// Waits until the card reports that it failed or was lost.
    #[cfg(target_family = "wasm")]
    pub(crate) async fn failure(&self) -> String {
        poll_fn(|context| {
            let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
            match &report.failure {
                Some(failure) => Poll::Ready(failure.clone()),
                None => {
                    report.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// From here on until [`Watch::end`] every refusal is told by that.
    pub(crate) fn watch(&self) -> Watch {
        use wgpu::ErrorFilter::{Internal, OutOfMemory, Validation};
        let [internal, memory, validation] =
            [Internal, OutOfMemory, Validation].map(|filter| self.device.push_error_scope(filter));
        Watch { validation, memory, internal }
    }

    /// burn's view of the card.
    pub(crate) fn burn(&self) -> &Device {
        &self.burn
    }

    /// A tensor of the first numbers of a buffer; `dispatches` come before.
    pub(crate) fn tensor<const D: usize>(
        &self,
        dispatches: &[&Bound],
        buffer: &Buffer,
        shape: [usize; D],
    ) -> Tensor<D> {
        let tensor = Tensor::empty(shape, &self.burn);
        let to = Region::of(tensor.clone());
        let mut commands = self.commands(dispatches);
        commands.copy_buffer_to_buffer(&buffer.0, 0, &to.buffer, to.offset, to.size);
        self.queue.submit([commands.finish()]);
        tensor
    }

    /// Puts a tensor's numbers, row-major, into a buffer from its beginning on.
    pub(crate) fn take<const D: usize>(&self, tensor: Tensor<D>, buffer: &Buffer) {
        let from = Region::of(tensor);
        let mut commands = self.commands(&[]);
        commands.copy_buffer_to_buffer(&from.buffer, from.offset, &buffer.0, 0, from.size);
        self.queue.submit([commands.finish()]);
    }

    /// How many numbers a shader can be given in one buffer.
    pub(crate) fn max_elements(&self) -> usize {
        let limits = self.device.limits();
        (limits.max_storage_buffer_binding_size.min(limits.max_buffer_size) / 4) as usize
    }

    /// Room for so many numbers.
    pub(crate) fn buffer(&self, numbers: usize) -> Buffer {
        Buffer(self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 4 * numbers as u64,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        }))
    }

    /// A buffer of these numbers, of any type of four bytes.
    pub(crate) fn filled<T: bytemuck::NoUninit>(&self, numbers: &[T]) -> Buffer {
        let buffer = self.buffer(numbers.len());
        self.write(&buffer, numbers);
        buffer
    }

    /// Puts numbers into a buffer, from its beginning on.
    pub(crate) fn write<T: bytemuck::NoUninit>(&self, buffer: &Buffer, numbers: &[T]) {
        self.queue.write_buffer(&buffer.0, 0, bytemuck::cast_slice(numbers));
    }

    /// A shader's buffers, in the order of [`Shader::operands`], and how many groups of threads it takes.
    pub(crate) fn bind<'a>(
        &self,
        shader: Shader,
        buffers: impl Iterator<Item = &'a Buffer>,
        groups: [u32; 3],
    ) -> Bound {
        let pipeline = self.pipelines.borrow_mut().entry(shader).or_insert_with(|| self.compile(shader)).clone();
        let entries = buffers
            .zip(0..)
            .map(|(buffer, binding)| wgpu::BindGroupEntry { binding, resource: buffer.0.as_entire_binding() });
        let buffers = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries.collect::<Vec<_>>(),
        });
        Bound { pipeline, buffers, groups }
    }

    fn compile(&self, shader: Shader) -> wgpu::ComputePipeline {
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(shader.text().into()),
        });
        self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        })
    }

    /// Queues dispatches.
    pub(crate) fn dispatch(&self, dispatches: &[&Bound]) {
        if !dispatches.is_empty() {
            self.queue.submit([self.commands(dispatches).finish()]);
        }
    }

    fn commands(&self, dispatches: &[&Bound]) -> wgpu::CommandEncoder {
        let mut commands = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        if !dispatches.is_empty() {
            let mut pass = commands.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            for Bound { pipeline, buffers, groups: [x, y, z] } in dispatches {
                pass.set_pipeline(pipeline);
                pass.set_bind_group(0, buffers, &[]);
                pass.dispatch_workgroups(*x, *y, *z);
            }
        }
        commands
    }

    /// Queues dispatches, and waits for what is then in those places.
    ///
    /// # Errors
    /// `DeviceError` if the card was lost, ran out of memory or refused anything since `watch` began.
    pub(crate) async fn read(
        &self,
        watch: Watch,
        dispatches: &[&Bound],
        wanted: &[Wanted<'_>],
    ) -> Result<Vec<Vec<f32>>> {
        let size: u64 = wanted.iter().map(|wanted| wanted.place().2).sum();
        if size == 0 {
            self.dispatch(dispatches);
            watch.end().await?;
            return Ok(vec![Vec::new(); wanted.len()]);
        }
        let mut commands = self.commands(dispatches);
        let copy = Buffer(self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        }));
        let mut at = 0;
        for wanted in wanted {
            let (buffer, offset, size) = wanted.place();
            commands.copy_buffer_to_buffer(buffer, offset, &copy.0, at, size);
            at += size;
        }
        self.queue.submit([commands.finish()]);
        // Watched, too: a buffer that could not be made can't be mapped.
        let mapped = self.mapped(&copy);
        watch.end().await?;
        mapped.await?;
        self.check()?;
        let bytes = copy.0.get_mapped_range(..).map_err(|error| failed("the device gave no result", error))?;
        let mut rest: &[u8] = &bytes;
        let numbers = wanted.iter().map(|wanted| {
            let (own, others) = rest.split_at(wanted.place().2 as usize);
            rest = others;
            bytemuck::pod_collect_to_vec(own)
        });
        Ok(numbers.collect())
    }

    /// Waits until the CPU may look at a buffer.
    fn mapped(&self, buffer: &Buffer) -> impl Future<Output = Result<()>> {
        #[derive(Default)]
        struct Mapping {
            waker: Option<Waker>,
            answer: Option<std::result::Result<(), wgpu::BufferAsyncError>>,
            told: bool,
        }
        let shared = Arc::new(Mutex::new(Mapping::default()));
        let told = shared.clone();
        buffer.0.map_async(wgpu::MapMode::Read, .., move |answer| {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            told.answer = Some(answer);
            told.told = true;
            if let Some(waker) = told.waker.take() {
                waker.wake();
            }
        });
        // Browsers look by themselves.
        #[cfg(not(target_family = "wasm"))]
        let polled = self.device.poll(wgpu::PollType::wait_indefinitely());
        #[cfg(target_family = "wasm")]
        {
            let (device, queue, shared) = (self.device.clone(), self.queue.clone(), shared.clone());
            crate::web::keep_moving(move || {
                let waits = !shared.lock().unwrap_or_else(PoisonError::into_inner).told;
                if waits {
                    queue.submit([device.create_command_encoder(&Default::default()).finish()]);
                }
                waits
            });
        }
        let answer = poll_fn(move |context| {
            let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
            match shared.answer.take() {
                Some(answer) => Poll::Ready(answer),
                None => {
                    shared.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        });
        async move {
            #[cfg(not(target_family = "wasm"))]
            polled.map_err(|error| failed("the device gave no result", error))?;
            answer.await.map_err(|error| failed("the device gave no result", error))
        }
    }
}
