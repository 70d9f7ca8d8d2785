//! What networks run on.

#[cfg(feature = "gpu")]
use std::rc::Rc;

#[cfg(feature = "gpu")]
use crate::{Result, gpu::Gpu};

/// What networks run on: the CPU, which is always there, or a graphics card.
///
/// Only whole stretches of a network run on a graphics card; tensors are on the CPU.
#[derive(Clone)]
pub struct Device {
    #[cfg(feature = "gpu")]
    pub(crate) gpu: Option<Rc<Gpu>>,
}

impl Device {
    /// The CPU, one thread.
    pub fn cpu() -> Device {
        Device {
            #[cfg(feature = "gpu")]
            gpu: None,
        }
    }

    /// The best graphics card by WebGPU, or natively by what the system has.
    ///
    /// # Errors
    /// `DeviceError` if there is none or it does not open.
    #[cfg(feature = "gpu")]
    pub async fn gpu() -> Result<Device> {
        Ok(Device { gpu: Some(Rc::new(Gpu::open().await?)) })
    }

    /// How it is called.
    pub(crate) fn name(&self) -> &'static str {
        #[cfg(feature = "gpu")]
        if self.gpu.is_some() {
            return "gpu";
        }
        "cpu"
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Device({})", self.name())
    }
}
