//! Worker processes that run a run-time compiler: in one process its compilations follow one another, and a
//! crash would be that of the whole program.
//!
//! A worker is this program's own binary with a hidden verb that calls [`serve`]. Requests and answers are
//! texts behind their length (8 bytes, little-endian): target, name and text of a kernel; then a byte (0 for
//! code) and the code or the message.
use super::Tools;
use super::rtc::Compiler;
use crate::target::{GpuSpec, Platform};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// No text is longer.
const LONGEST: u64 = 1 << 30;

/// A worker process.
pub(super) struct Worker {
    child: Child,
}

impl Worker {
    /// Starts a worker: the command of `tools`, which has one.
    pub fn start(command: &[String], nvrtc: Option<&Path>) -> io::Result<Worker> {
        let (program, arguments) =
            command.split_first().ok_or_else(|| io::Error::other("there is no worker command"))?;
        let mut start = Command::new(program);
        start.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        if let Some(path) = nvrtc {
            start.arg("--nvrtc-library").arg(path);
        }
        Ok(Worker { child: start.spawn()? })
    }

    /// Has the worker compile; the outer error is the end of the worker.
    pub fn compile(
        &mut self,
        target: &GpuSpec,
        name: &str,
        text: &str,
    ) -> io::Result<Result<Vec<u8>, String>> {
        let gone = || io::Error::other("the worker has no pipe");
        let input = self.child.stdin.as_mut().ok_or_else(gone)?;
        let target = format!("{}:{}", target.platform.name(), target.arch);
        for part in [&target, name, text] {
            write_part(input, part.as_bytes())?;
        }
        input.flush()?;
        let output = self.child.stdout.as_mut().ok_or_else(gone)?;
        let mut status = [0];
        output.read_exact(&mut status)?;
        let bytes = read_part(output)?;
        Ok(match status {
            [0] => Ok(bytes),
            _ => Err(String::from_utf8_lossy(&bytes).into_owned()),
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // A worker ends when its input does; one that hangs is ended.
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Answers requests until the input ends.
///
/// # Errors
/// When a pipe breaks or a request is cut off.
pub fn serve(tools: &Tools, mut input: impl Read, mut output: impl Write) -> io::Result<()> {
    let mut compilers: HashMap<Platform, Result<Compiler, String>> = HashMap::new();
    loop {
        let target = match read_part(&mut input) {
            Ok(target) => String::from_utf8_lossy(&target).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        let (name, text) = (read_part(&mut input)?, read_part(&mut input)?);
        let (name, text) = (String::from_utf8_lossy(&name), String::from_utf8_lossy(&text));
        let compiled =
            GpuSpec::named(&target).ok_or_else(|| format!("unknown target {target}")).and_then(|spec| {
                let compiler = compilers
                    .entry(spec.platform)
                    .or_insert_with(|| Compiler::load(spec.platform, tools.nvrtc.as_deref()));
                compiler.as_ref().map_err(Clone::clone)?.compile(spec, &name, &text)
            });
        let (status, bytes) = match compiled {
            Ok(code) => (0, code),
            Err(message) => (1, message.into_bytes()),
        };
        output.write_all(&[status])?;
        write_part(&mut output, &bytes)?;
        output.flush()?;
    }
}

fn write_part(output: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    output.write_all(&(bytes.len() as u64).to_le_bytes())?;
    output.write_all(bytes)
}

fn read_part(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 8];
    input.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > LONGEST {
        return Err(io::Error::other(format!("a part of {length} bytes")));
    }
    let mut bytes = Vec::new();
    let read = input.take(length).read_to_end(&mut bytes)?;
    if read as u64 == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
