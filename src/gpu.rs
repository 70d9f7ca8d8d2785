//! A graphics card by WebGPU: buffers, launches of shaders, and numbers brought back.
//!
//! Nothing here waits for the card but [`Gpu::read`]: launches are queued, and run in the order in which they were.
//!
//! **Invariants.** What is written into a buffer is there before everything that is queued later, and after everything that
//! was queued before.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use crate::shaders::Shader;
use crate::{Error, ErrorKind, Result};

/// An open graphics card, and the shaders that were compiled for it.
pub(crate) struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    pipelines: RefCell<HashMap<Shader, wgpu::ComputePipeline>>,
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
            // Large matrices take more than what every device has to offer.
            required_limits: adapter.limits(),
            ..wgpu::DeviceDescriptor::default()
        };
        let opened = adapter.request_device(&descriptor).await;
        let (device, queue) = opened.map_err(|error| failed("the graphics card does not open", error))?;
        Ok(Gpu { device, queue, pipelines: RefCell::default() })
    }

    /// How many numbers a shader can be given in one buffer.
    pub(crate) fn most_numbers(&self) -> usize {
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

    /// Queues launches.
    pub(crate) fn launch(&self, launches: &[&Bound]) {
        if !launches.is_empty() {
            self.queue.submit([self.commands(launches).finish()]);
        }
    }

    fn commands(&self, launches: &[&Bound]) -> wgpu::CommandEncoder {
        let mut commands = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        if !launches.is_empty() {
            let mut pass = commands.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            for Bound { pipeline, buffers, groups: [x, y, z] } in launches {
                pass.set_pipeline(pipeline);
                pass.set_bind_group(0, buffers, &[]);
                pass.dispatch_workgroups(*x, *y, *z);
            }
        }
        commands
    }

    /// Queues launches, and waits for what is then in the first so many numbers of each buffer.
    ///
    /// # Errors
    /// `DeviceError` if the card was lost or ran out of memory.
    pub(crate) async fn read(&self, launches: &[&Bound], buffers: &[(&Buffer, usize)]) -> Result<Vec<Vec<f32>>> {
        let size: usize = buffers.iter().map(|(_, numbers)| 4 * numbers).sum();
        if size == 0 {
            self.launch(launches);
            return Ok(vec![Vec::new(); buffers.len()]);
        }
        let mut commands = self.commands(launches);
        let copy = Buffer(self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: size as u64,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        }));
        let mut at = 0;
        for (buffer, numbers) in buffers {
            let size = 4 * *numbers as u64;
            commands.copy_buffer_to_buffer(&buffer.0, 0, &copy.0, at, size);
            at += size;
        }
        self.queue.submit([commands.finish()]);
        self.mapped(&copy).await?;
        let bytes = copy.0.get_mapped_range(..).map_err(|error| failed("the device gave no result", error))?;
        let mut rest: &[u8] = &bytes;
        let numbers = buffers.iter().map(|(_, numbers)| {
            let (own, others) = rest.split_at(4 * numbers);
            rest = others;
            bytemuck::pod_collect_to_vec(own)
        });
        Ok(numbers.collect())
    }

    /// Waits until the CPU may look at a buffer.
    async fn mapped(&self, buffer: &Buffer) -> Result<()> {
        type Answer = Option<std::result::Result<(), wgpu::BufferAsyncError>>;
        let shared = Arc::new(Mutex::new((None::<Waker>, Answer::None)));
        let told = shared.clone();
        buffer.0.map_async(wgpu::MapMode::Read, .., move |answer| {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            told.1 = Some(answer);
            if let Some(waker) = told.0.take() {
                waker.wake();
            }
        });
        // Browsers look by themselves.
        #[cfg(not(target_family = "wasm"))]
        self.device
            .poll(wgpu::PollType::wait_indefinitely())
            .map_err(|error| failed("the device gave no result", error))?;
        let answer = poll_fn(|context| {
            let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
            match shared.1.take() {
                Some(answer) => Poll::Ready(answer),
                None => {
                    shared.0 = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        });
        answer.await.map_err(|error| failed("the device gave no result", error))
    }
}
