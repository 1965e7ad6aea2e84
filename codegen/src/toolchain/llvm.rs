//! LLVM text to object code through inkwell: the only file that names it.
use crate::target::TargetSpec;
use inkwell::OptimizationLevel;
use inkwell::context::Context;
use inkwell::memory_buffer::MemoryBuffer;
use inkwell::passes::PassBuilderOptions;
use inkwell::targets::{
    CodeModel, FileType, InitializationConfig, RelocMode, Target, TargetMachine, TargetTriple,
};
use std::sync::Once;

const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// What objects depend on besides text and target.
pub fn version() -> &'static str {
    concat!("llvm-19.1/", env!("CARGO_PKG_VERSION"))
}

/// The processor this process runs on.
pub fn host() -> TargetSpec {
    let cpu = TargetMachine::get_host_cpu_name();
    let features = TargetMachine::get_host_cpu_features();
    TargetSpec::described(&cpu.to_string_lossy(), &features.to_string_lossy())
}

/// Compiles a module at `-O3` into an ELF object; fails with LLVM's message.
pub fn to_object(text: &str, target: &TargetSpec) -> Result<Vec<u8>, String> {
    with_module(text, target, |machine, module| {
        machine
            .write_to_memory_buffer(module, FileType::Object)
            .map(|object| object.as_slice().to_vec())
            .map_err(|e| e.to_string())
    })
}

/// As [`to_object`], but assembly text.
pub fn to_assembly(text: &str, target: &TargetSpec) -> Result<String, String> {
    with_module(text, target, |machine, module| {
        machine
            .write_to_memory_buffer(module, FileType::Assembly)
            .map(|text| String::from_utf8_lossy(text.as_slice()).into_owned())
            .map_err(|e| e.to_string())
    })
}

fn with_module<T>(
    text: &str,
    target: &TargetSpec,
    finish: impl FnOnce(&TargetMachine, &inkwell::module::Module<'_>) -> Result<T, String>,
) -> Result<T, String> {
    let machine = machine(target)?;
    let context = Context::create();
    let buffer = MemoryBuffer::create_from_memory_range_copy(text.as_bytes(), "kernels");
    let module = context.create_module_from_ir(buffer).map_err(|e| e.to_string())?;
    module.run_passes("default<O3>", &machine, PassBuilderOptions::create()).map_err(|e| e.to_string())?;
    finish(&machine, &module)
}

fn machine(target: &TargetSpec) -> Result<TargetMachine, String> {
    static INITIALIZED: Once = Once::new();
    INITIALIZED.call_once(|| Target::initialize_x86(&InitializationConfig::default()));
    let triple = TargetTriple::create(TRIPLE);
    Target::from_triple(&triple)
        .map_err(|e| e.to_string())?
        .create_target_machine(
            &triple,
            &target.cpu,
            &target.features,
            OptimizationLevel::Aggressive,
            RelocMode::PIC,
            CodeModel::Small,
        )
        .ok_or_else(|| format!("no target machine for {}", target.cpu))
}
