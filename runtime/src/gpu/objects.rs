//! What a device holds for us, each given back when it is dropped.
//!
//! Dropping ignores errors: after a fault a driver refuses everything, and gives all back itself.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_void};
use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::driver::Failure;
use crate::error::{Error, Result};
use crate::sys::{self, Address, Handle};

type Call<T = ()> = std::result::Result<T, Failure>;

/// Memory of a device; the empty one has the address 0.
pub(crate) struct Allocation {
    context: Arc<Context>,
    start: Address,
    size: usize,
}

impl Allocation {
    pub fn empty(context: &Arc<Context>) -> Allocation {
        Allocation { context: context.clone(), start: 0, size: 0 }
    }

    /// Memory of this size, for what is named.
    pub fn new(context: &Arc<Context>, size: usize, what: impl FnOnce() -> String) -> Result<Allocation> {
        let mut allocation = Allocation::empty(context);
        if size == 0 {
            return Ok(allocation);
        }
        context.enter()?;
        // SAFETY: the function writes an address.
        let code = unsafe { (context.driver.functions.allocate)(&raw mut allocation.start, size) };
        match context.driver.check(code) {
            Ok(()) => {
                allocation.size = size;
                Ok(allocation)
            }
            Err(failure) if failure.code == sys::OUT_OF_MEMORY => {
                Err(Error::Memory { bytes: size as u64, what: format!("{} on {}", what(), context.label) })
            }
            Err(failure) => Err(context.error(&failure, &format!("allocate {size} bytes for {}", what()))),
        }
    }

    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    pub fn start(&self) -> Address {
        self.start
    }

    pub fn size(&self) -> usize {
        self.size
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        if self.size > 0 && self.context.enter().is_ok() {
            // SAFETY: the memory is ours, and given back once.
            unsafe { (self.context.driver.functions.free)(self.start) };
        }
    }
}

/// Memory of the host that devices copy from and to by themselves. Not initialized where it is new.
pub(crate) struct Pinned {
    context: Arc<Context>,
    start: *mut u8,
    size: usize,
}

// SAFETY: the memory is ours; the pointer refers to nothing of a thread.
unsafe impl Send for Pinned {}

impl Pinned {
    pub fn empty(context: &Arc<Context>) -> Pinned {
        Pinned { context: context.clone(), start: std::ptr::null_mut(), size: 0 }
    }

    pub fn new(context: &Arc<Context>, size: usize) -> Result<Pinned> {
        let mut pinned = Pinned::empty(context);
        if size == 0 {
            return Ok(pinned);
        }
        context.enter()?;
        let mut start: *mut c_void = std::ptr::null_mut();
        // SAFETY: the function writes an address.
        let code = unsafe { (context.driver.functions.allocate_host)(&raw mut start, size, sys::MAPPED) };
        match context.driver.check(code) {
            Ok(()) => {
                (pinned.start, pinned.size) = (start.cast(), size);
                // SAFETY: the memory has this size.
                unsafe { std::ptr::write_bytes(pinned.start, 0, size) };
                Ok(pinned)
            }
            Err(failure) if failure.code == sys::OUT_OF_MEMORY => {
                let what = format!("copies from and to {}", context.label);
                Err(Error::Memory { bytes: size as u64, what })
            }
            Err(failure) => Err(context.error(&failure, &format!("allocate {size} bytes of the host"))),
        }
    }

    pub fn start(&self) -> *mut u8 {
        self.start
    }

    pub fn size(&self) -> usize {
        self.size
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if self.size > 0 && self.context.enter().is_ok() {
            // SAFETY: the memory is ours, and given back once.
            unsafe { (self.context.driver.functions.free_host)(self.start.cast()) };
        }
    }
}

/// Code of a device.
pub(crate) struct Module {
    context: Arc<Context>,
    handle: Handle,
}

// SAFETY: the handle is only passed to the driver, from any thread.
unsafe impl Send for Module {}
// SAFETY: as above.
unsafe impl Sync for Module {}

impl Module {
    /// Loads a code object, all of which has been found to be there.
    pub fn new(context: &Arc<Context>, object: &[u8]) -> Call<Module> {
        let mut handle = std::ptr::null_mut();
        // SAFETY: the object is an ELF file whose parts lie in these bytes.
        let code = unsafe { (context.driver.functions.module_load)(&raw mut handle, object.as_ptr().cast()) };
        context.driver.check(code)?;
        Ok(Module { context: context.clone(), handle })
    }

    /// A kernel, which lives as long as the module.
    pub fn function(&self, name: &CStr) -> Call<Handle> {
        let mut function = std::ptr::null_mut();
        let get = self.context.driver.functions.module_function;
        // SAFETY: the module is loaded, and the name ends in a zero byte.
        self.context.driver.check(unsafe { get(&raw mut function, self.handle, name.as_ptr()) })?;
        Ok(function)
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if self.context.enter().is_ok() {
            // SAFETY: the module is ours, and unloaded once.
            unsafe { (self.context.driver.functions.module_unload)(self.handle) };
        }
    }
}

/// A moment in a stream.
pub(crate) struct Event {
    context: Arc<Context>,
    handle: Handle,
}

// SAFETY: the handle is only passed to the driver, from any thread.
unsafe impl Send for Event {}

impl Event {
    pub fn new(context: &Arc<Context>) -> Result<Event> {
        let mut handle = std::ptr::null_mut();
        // SAFETY: the function writes a handle.
        let code = unsafe { (context.driver.functions.event_create)(&raw mut handle, 0) };
        context.driver.check(code).map_err(|failure| context.error(&failure, "make an event"))?;
        Ok(Event { context: context.clone(), handle })
    }

    /// The time to a later event; both have passed.
    pub fn until(&self, later: &Event) -> Call<Duration> {
        let mut milliseconds = 0f32;
        let elapsed = self.context.driver.functions.event_elapsed;
        // SAFETY: both are events, and the function writes a number.
        self.context.driver.check(unsafe { elapsed(&raw mut milliseconds, self.handle, later.handle) })?;
        Ok(Duration::from_secs_f64(f64::from(milliseconds.max(0.0)) / 1e3))
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if self.context.enter().is_ok() {
            // SAFETY: the event is ours, and given back once.
            unsafe { (self.context.driver.functions.event_destroy)(self.handle) };
        }
    }
}

/// What a capture recorded, ready to run again.
pub(crate) struct Graph {
    context: Arc<Context>,
    handle: Handle,
}

// SAFETY: the handle is only passed to the driver, from any thread.
unsafe impl Send for Graph {}

impl Drop for Graph {
    fn drop(&mut self) {
        if self.context.enter().is_ok() {
            // SAFETY: the graph is ours, and given back once.
            unsafe { (self.context.driver.functions.replay_destroy)(self.handle) };
        }
    }
}

/// Work of a device, done in order. Its calls go to the device that the thread has entered.
pub(crate) struct Stream {
    context: Arc<Context>,
    /// Null for the stream that every device has.
    handle: Handle,
}

// SAFETY: the handle is only passed to the driver, from any thread.
unsafe impl Send for Stream {}

impl Stream {
    pub fn new(context: &Arc<Context>) -> Result<Stream> {
        context.enter()?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the function writes a handle.
        let code = unsafe { (context.driver.functions.stream_create)(&raw mut handle, sys::NON_BLOCKING) };
        context.driver.check(code).map_err(|failure| context.error(&failure, "make a stream"))?;
        Ok(Stream { context: context.clone(), handle })
    }

    /// The stream that every device has.
    pub fn of_device(context: &Arc<Context>) -> Result<Stream> {
        context.enter()?;
        Ok(Stream { context: context.clone(), handle: std::ptr::null_mut() })
    }

    /// The stream as the driver and its libraries know it.
    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// # Safety
    /// Both ranges must be valid until the copy is done, and written by nobody else.
    pub unsafe fn copy_to_device(&self, to: Address, from: *const u8, size: usize) -> Call {
        if size == 0 {
            return Ok(());
        }
        let copy = self.context.driver.functions.copy_to_device;
        // SAFETY: the caller's promise.
        self.context.driver.check(unsafe { copy(to, from.cast(), size, self.handle) })
    }

    /// # Safety
    /// Both ranges must be valid until the copy is done, and used by nobody else.
    pub unsafe fn copy_to_host(&self, to: *mut u8, from: Address, size: usize) -> Call {
        if size == 0 {
            return Ok(());
        }
        let copy = self.context.driver.functions.copy_to_host;
        // SAFETY: the caller's promise.
        self.context.driver.check(unsafe { copy(to.cast(), from, size, self.handle) })
    }

    /// # Safety
    /// Both ranges must be valid until the copy is done, and must not overlap.
    pub unsafe fn copy(&self, to: Address, from: Address, size: usize) -> Call {
        if size == 0 {
            return Ok(());
        }
        let copy = self.context.driver.functions.copy;
        // SAFETY: the caller's promise.
        self.context.driver.check(unsafe { copy(to, from, size, self.handle) })
    }

    /// # Safety
    /// The four bytes must be valid until the write is done.
    pub unsafe fn set(&self, to: Address, value: u32) -> Call {
        let set = self.context.driver.functions.set;
        // SAFETY: the caller's promise.
        self.context.driver.check(unsafe { set(to, value, 1, self.handle) })
    }

    /// Runs a kernel on packed arguments.
    ///
    /// # Safety
    /// The function must be of a module that stays loaded until it is done, the arguments what it expects,
    /// and valid until then.
    pub unsafe fn launch(
        &self,
        function: Handle,
        (grid, threads, shared): (u32, u32, u32),
        arguments: &mut [u64],
    ) -> Call {
        let driver = self.context.driver;
        let mut size = size_of_val(arguments);
        let mut extra = [
            sys::ARGUMENTS,
            arguments.as_mut_ptr().cast(),
            sys::ARGUMENTS_SIZE,
            (&raw mut size).cast(),
            driver.arguments_end(),
        ];
        let (none, extra) = (std::ptr::null_mut(), extra.as_mut_ptr());
        let launch = driver.functions.launch;
        // SAFETY: the caller's promise; the driver copies the arguments before it returns.
        driver.check(unsafe { launch(function, grid, 1, 1, threads, 1, 1, shared, self.handle, none, extra) })
    }

    /// Waits until everything is done.
    pub fn synchronize(&self) -> Call {
        let synchronize = self.context.driver.functions.stream_synchronize;
        // SAFETY: the stream is ours.
        self.context.driver.check(unsafe { synchronize(self.handle) })
    }

    /// From now on, work is recorded and not done.
    pub fn begin_capture(&self) -> Call {
        let begin = self.context.driver.functions.capture_begin;
        // SAFETY: the stream is ours.
        self.context.driver.check(unsafe { begin(self.handle, sys::CAPTURE_THREAD) })
    }

    /// Ends recording.
    pub fn end_capture(&self) -> Call<Graph> {
        let driver = self.context.driver;
        let functions = &driver.functions;
        let (mut recorded, mut handle) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: the stream is ours, and the function writes a handle.
        driver.check(unsafe { (functions.capture_end)(self.handle, &raw mut recorded) })?;
        // SAFETY: the recorded graph is ours, and the function writes a handle.
        let made = driver.check(unsafe { (functions.graph_instantiate)(&raw mut handle, recorded, 0) });
        // SAFETY: what was made of the graph does not need it.
        unsafe { (functions.graph_destroy)(recorded) };
        made.map(|()| Graph { context: self.context.clone(), handle })
    }

    /// Does what was recorded.
    ///
    /// # Safety
    /// Everything that it uses must be as valid as when it was recorded, until it is done.
    pub unsafe fn replay(&self, graph: &Graph) -> Call {
        let launch = self.context.driver.functions.graph_launch;
        // SAFETY: the caller's promise.
        self.context.driver.check(unsafe { launch(graph.handle, self.handle) })
    }

    pub fn record(&self, event: &Event) -> Call {
        let record = self.context.driver.functions.event_record;
        // SAFETY: both are ours.
        self.context.driver.check(unsafe { record(event.handle, self.handle) })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.handle.is_null() && self.context.enter().is_ok() {
            // SAFETY: the stream is ours, and given back once.
            unsafe { (self.context.driver.functions.stream_destroy)(self.handle) };
        }
    }
}
