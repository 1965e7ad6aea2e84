//! Devices that are in use, each opened once for all sessions.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int};
use std::sync::{Arc, Mutex, PoisonError};

use super::driver::{Driver, Failure, no_device};
use crate::device::{Device, Platform};
use crate::error::{Error, Result};
use crate::sys::Handle;

/// What a GPU is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// The device, as sessions are made on it.
    pub device: Device,
    /// The name that its maker gave it.
    pub name: String,
    /// Its instruction set, as targets are named: `gfx942`, `sm_90`.
    pub arch: String,
    /// Bytes of its memory.
    pub memory: u64,
    /// The driver: its version and the file it was loaded from.
    pub driver: String,
}

/// The devices of a platform; none where its driver finds none.
///
/// # Errors
/// When the driver is missing or too old.
pub(crate) fn list(platform: Platform) -> Result<Vec<DeviceInfo>> {
    let driver = Driver::get(platform).or_else(|reason| no_device(platform.name(), reason))?;
    let count = match driver.device_count() {
        Ok(count) => count,
        Err(failure) => return no_device(platform.name(), missing(platform, &failure)),
    };
    (0..count).map(|ordinal| describe(driver, ordinal).map(|(info, _)| info)).collect()
}

fn missing(platform: Platform, failure: &Failure) -> String {
    format!("{}'s driver finds no device: {failure}", platform.vendor())
}

/// What a device is, and the number that the driver knows it by.
fn describe(driver: &'static Driver, ordinal: u32) -> Result<(DeviceInfo, c_int)> {
    let device = Device::gpu(driver.platform, ordinal);
    let failed = |failure: Failure| failure.error(&device.to_string(), "say what it is");
    let ordinal = c_int::try_from(ordinal).unwrap_or(c_int::MAX);
    let (mut number, mut memory, mut name) = (0, 0, [0 as c_char; 256]);
    let functions = &driver.functions;
    // SAFETY: the functions write a number, or a text of at most the given size.
    unsafe {
        driver.check((functions.device)(&raw mut number, ordinal)).map_err(failed)?;
        driver.check((functions.device_memory)(&raw mut memory, number)).map_err(failed)?;
        driver.check((functions.device_name)(name.as_mut_ptr(), 255, number)).map_err(failed)?;
    }
    // SAFETY: the last byte was not written to and is zero.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned();
    let arch = driver.arch(number).map_err(failed)?;
    let version = format!("{} ({})", driver.version(), driver.library());
    Ok((DeviceInfo { device, name, arch, memory: memory as u64, driver: version }, number))
}

/// A device that is in use.
pub(crate) struct Context {
    pub driver: &'static Driver,
    pub info: DeviceInfo,
    /// Its name in errors: `hip:0`.
    pub label: String,
    number: c_int,
    handle: Handle,
}

// SAFETY: drivers are made for calls from any thread; the handle is only passed to them.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    /// The device of this number, opened at its first use and then kept.
    pub fn get(platform: Platform, ordinal: u32) -> Result<Arc<Context>> {
        static OPEN: Mutex<Vec<Arc<Context>>> = Mutex::new(Vec::new());
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let device = Device::gpu(platform, ordinal);
        if let Some(found) = open.iter().find(|context| context.info.device == device) {
            return Ok(found.clone());
        }
        let label = device.to_string();
        let driver = Driver::get(platform).or_else(|reason| no_device(&label, reason))?;
        match driver.device_count() {
            Ok(count) if ordinal < count => {}
            Ok(count) => {
                let devices = if count == 1 { "device" } else { "devices" };
                let reason = format!("{}'s driver finds {count} {devices}", platform.vendor());
                return no_device(&label, reason);
            }
            Err(failure) => return no_device(&label, missing(platform, &failure)),
        }
        let (info, number) = describe(driver, ordinal)?;
        let handle = driver.retain_context(number).map_err(|f| f.error(&label, "be opened"))?;
        let context = Arc::new(Context { driver, info, label, number, handle });
        open.push(context.clone());
        Ok(context)
    }

    /// Makes the calls of this thread go to the device.
    pub fn enter(&self) -> Result<()> {
        // SAFETY: the context is that of the device.
        let entered = unsafe { self.driver.enter(self.number, self.handle) };
        entered.map_err(|failure| self.error(&failure, "be used"))
    }

    /// The error of a call: the device cannot do something.
    pub fn error(&self, failure: &Failure, what: &str) -> Error {
        failure.error(&self.label, what)
    }
}
