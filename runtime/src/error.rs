//! Everything that can go wrong with a program file, a device or a run.

use sardonyx_tensor::{DType, DimError};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {file}: {source}")]
    Io {
        /// The file.
        file: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is no program.
    #[error("{file} is not a Sardonyx program file (.sdx)")]
    Foreign {
        /// The file.
        file: String,
    },
    /// The file is of a later version.
    #[error("{file} has format version {found}, this runtime reads up to {known}: update the runtime")]
    Newer {
        /// The file.
        file: String,
        /// Its version.
        found: u32,
        /// The newest version that is known.
        known: u32,
    },
    /// The file ends early.
    #[error("{file} is truncated: it should have at least {expected} bytes and has {given}")]
    Truncated {
        /// The file.
        file: String,
        /// Bytes it should have.
        expected: u64,
        /// Bytes it has.
        given: u64,
    },
    /// A checksum does not fit.
    #[error("{file} is corrupt: the checksum of {part} does not fit")]
    Corrupt {
        /// The file.
        file: String,
        /// The part of it.
        part: String,
    },
    /// The manifest is not valid.
    #[error("{file} has a bad manifest: {reason}")]
    Manifest {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The program was not compiled for the device.
    #[error("the program does not run on {device}: {reason}")]
    NoTarget {
        /// The device.
        device: String,
        /// What each target of the program lacks.
        reason: String,
    },
    /// A device does not exist or is not known, or its driver cannot be used.
    #[error("no device `{name}`: {reason}")]
    NoDevice {
        /// Its name.
        name: String,
        /// What is missing.
        reason: String,
    },
    /// A device refuses something, or has failed.
    #[error("{device} cannot {what}: {reason}")]
    Device {
        /// The device.
        device: String,
        /// What it should have done.
        what: String,
        /// What its driver says.
        reason: String,
    },
    /// A code object cannot be loaded.
    #[error("cannot load the code of target {target}: {reason}")]
    Code {
        /// The target.
        target: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A name is none of the inputs.
    #[error("no input `{name}`; the inputs are {known}")]
    UnknownInput {
        /// The name.
        name: String,
        /// All inputs.
        known: String,
    },
    /// An input is not given.
    #[error("input `{0}` is not given")]
    MissingInput(String),
    /// An input is given twice.
    #[error("input `{0}` is given twice")]
    DuplicateInput(String),
    /// An input has the wrong element type.
    #[error("input `{name}` should be {expected}, not {given}")]
    InputDType {
        /// The input.
        name: String,
        /// Its element type.
        expected: DType,
        /// The element type that was given.
        given: DType,
    },
    /// An input has the wrong shape.
    #[error("input `{name}` should have the shape {expected}, not {given:?}")]
    InputShape {
        /// The input.
        name: String,
        /// Its shape.
        expected: String,
        /// The shape that was given.
        given: Vec<usize>,
    },
    /// Two inputs give a symbol two values.
    #[error("dim `{symbol}` is {first} in input `{first_input}` but {second} in input `{second_input}`")]
    SymbolConflict {
        /// The symbol.
        symbol: String,
        /// Its value in the first input.
        first: i64,
        /// The first input.
        first_input: String,
        /// Its value in the second input.
        second: i64,
        /// The second input.
        second_input: String,
    },
    /// Sizes that the model needs to be equal are not.
    #[error("`{left}` is {left_value} but `{right}` is {right_value}; they should be equal at {place}")]
    Constraint {
        /// One side.
        left: String,
        /// Its value.
        left_value: i64,
        /// The other side.
        right: String,
        /// Its value.
        right_value: i64,
        /// Where the model needs it.
        place: String,
    },
    /// The bytes of an input or output do not fit its type and shape.
    #[error("the buffer of `{name}` {reason}")]
    Buffer {
        /// The input or output.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A size cannot be computed.
    #[error("cannot compute {what}: {source}")]
    Size {
        /// What it is the size of.
        what: String,
        /// Why.
        source: DimError,
    },
    /// Memory is not available.
    #[error("cannot allocate {bytes} bytes for {what}")]
    Memory {
        /// How much.
        bytes: u64,
        /// What for.
        what: String,
    },
    /// A step of the program cannot be run.
    #[error("step {number} ({label}): {reason}")]
    Step {
        /// The number of the step.
        number: usize,
        /// What it does, with the ONNX nodes it comes from.
        label: String,
        /// What is wrong.
        reason: String,
    },
    /// The program has no golden inputs.
    #[error("the program has no golden inputs and outputs")]
    NoGolden,
    /// The self-test gives other outputs than recorded.
    #[error(
        "self-test: output `{output}` is {given} at element {index} where {expected} is expected \
         ({wrong} of {count} elements differ)"
    )]
    Golden {
        /// The output.
        output: String,
        /// The element with the largest difference.
        index: usize,
        /// Its value.
        given: f64,
        /// The value recorded.
        expected: f64,
        /// How many elements differ.
        wrong: usize,
        /// How many elements there are.
        count: usize,
    },
}

/// The result of operations of this crate.
pub type Result<T> = std::result::Result<T, Error>;
