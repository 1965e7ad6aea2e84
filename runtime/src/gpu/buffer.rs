//! Memory of a GPU that belongs to the application.
#![allow(unsafe_code)]

use std::fmt;

use super::context::Context;
use super::objects::{Allocation, Stream};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::sys::Address;

/// Memory of a GPU, to give runs their inputs and take their outputs without copies through the host:
/// see [`Session::run_device`](crate::Session::run_device).
pub struct DeviceBuffer(Allocation);

impl DeviceBuffer {
    /// Memory of this many bytes on a GPU. What it holds at first is not defined.
    ///
    /// # Errors
    /// When the device is no GPU, is not there, or has not that much memory.
    pub fn new(device: &Device, bytes: usize) -> Result<DeviceBuffer> {
        let Some((platform, ordinal)) = device.as_gpu() else {
            let reason = "the memory of a CPU is that of the host".to_string();
            return Err(Error::NoDevice { name: device.to_string(), reason });
        };
        let context = Context::get(platform, ordinal)?;
        Allocation::new(&context, bytes, || "a buffer".into()).map(DeviceBuffer)
    }

    /// Its size in bytes.
    pub fn size(&self) -> usize {
        self.0.size()
    }

    /// The device that it is on.
    pub fn device(&self) -> &Device {
        &self.0.context().info.device
    }

    /// Its address on the device, for other libraries; 0 where it is empty.
    pub fn address(&self) -> u64 {
        self.0.start()
    }

    /// Copies bytes of the host over the start of the buffer.
    ///
    /// # Errors
    /// When there are more bytes than the buffer has, and when the device fails.
    pub fn upload(&mut self, bytes: &[u8]) -> Result<()> {
        self.check(bytes.len())?;
        let context = self.0.context();
        let stream = Stream::of_device(context)?;
        // SAFETY: the buffer has these bytes, and the copy is done when the call returns.
        let copied = unsafe { stream.copy_to_device(self.0.start(), bytes.as_ptr(), bytes.len()) };
        copied.and_then(|()| stream.synchronize()).map_err(|f| context.error(&f, "take a buffer"))
    }

    /// Copies the start of the buffer to bytes of the host.
    ///
    /// # Errors
    /// As of [`DeviceBuffer::upload`].
    pub fn download(&self, bytes: &mut [u8]) -> Result<()> {
        self.check(bytes.len())?;
        let context = self.0.context();
        let stream = Stream::of_device(context)?;
        // SAFETY: the buffer has these bytes, and the copy is done when the call returns.
        let copied = unsafe { stream.copy_to_host(bytes.as_mut_ptr(), self.0.start(), bytes.len()) };
        copied.and_then(|()| stream.synchronize()).map_err(|f| context.error(&f, "give a buffer"))
    }

    fn check(&self, bytes: usize) -> Result<()> {
        if bytes <= self.size() {
            return Ok(());
        }
        let reason = format!("has {} bytes, fewer than the {bytes} to copy", self.size());
        Err(Error::Buffer { name: "the device".into(), reason })
    }

    pub(crate) fn start(&self) -> Address {
        self.0.start()
    }
}

impl fmt::Debug for DeviceBuffer {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "DeviceBuffer {{ {} bytes on {} }}", self.size(), self.device())
    }
}
