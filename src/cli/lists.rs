//! `ops` and `targets`: what can be imported, what can be compiled for.
use super::Outcome;
use super::common;
use sardonyx_codegen::target;

pub(super) fn ops() -> Outcome {
    let mut table = common::table(&["domain", "operator", "since opset"]);
    for (domain, name, since) in crate::onnx::supported() {
        let versions = since.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        table.add_row(vec![domain.to_string(), name.to_string(), versions]);
    }
    println!("{table}");
    Ok(())
}

pub(super) fn targets() -> Outcome {
    let mut table = common::table(&["target", ""]);
    #[cfg(feature = "cpu")]
    table.add_row(vec![
        "cpu".to_string(),
        format!("this machine: {}", sardonyx_codegen::toolchain::llvm::host().cpu),
    ]);
    for cpu in target::CPUS {
        table.add_row(vec![format!("cpu:{}", cpu.name), cpu.about.to_string()]);
    }
    for gpu in target::GPUS {
        table.add_row(vec![format!("{}:{}", gpu.platform.name(), gpu.arch), gpu.about.to_string()]);
    }
    println!("{table}");
    Ok(())
}
