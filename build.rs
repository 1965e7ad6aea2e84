//! Generates the ONNX message types from `proto/onnx.proto`, with a protobuf compiler in Rust.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = protox::compile(["onnx.proto"], ["proto"])?;
    prost_build::Config::new().bytes([".onnx.TensorProto.raw_data"]).compile_fds(files)?;
    println!("cargo:rerun-if-changed=proto/onnx.proto");
    Ok(())
}
