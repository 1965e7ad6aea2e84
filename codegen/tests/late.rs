//! Sizes that a run decides and that the model needs to be equal are compared before anything relies on it.
#![cfg(feature = "cpu")]
#![allow(clippy::unwrap_used)]
use sardonyx_codegen::compile::{CompileOptions, compile};
use sardonyx_ir::text;
use sardonyx_runtime::{Device, Program, Session};
use sardonyx_tensor::Tensor;

fn session(source: &str) -> Session {
    let graph = text::parse(source).unwrap_or_else(|e| panic!("{e} in {source}"));
    let options = CompileOptions { targets: vec!["cpu".into()], ..CompileOptions::default() };
    let (bytes, _) = compile(&graph, &options).unwrap();
    Program::from_bytes(bytes).unwrap().session(Device::cpu()).unwrap()
}

fn run(session: &mut Session, x: &[bool], y: &[bool], both: bool) -> Result<Vec<i64>, String> {
    let inputs = [
        ("x", Tensor::from_slice([x.len()], x)),
        ("y", Tensor::from_slice([y.len()], y)),
        ("both", Tensor::from_slice([], &[both])),
    ];
    let known = session.program().inputs().iter().map(|p| p.name.clone()).collect::<Vec<_>>();
    let inputs = inputs.into_iter().filter(|(name, _)| known.iter().any(|k| k == name));
    let outputs = session.run(inputs).map_err(|e| e.to_string())?;
    Ok(outputs[0].to_f64s().into_iter().map(|v| v as i64).collect())
}

const T: bool = true;
const F: bool = false;

#[test]
fn numbers_of_elements_that_were_found() {
    let mut session = session(
        "graph(%x: bool[n], %y: bool[m]) {
           %0 = non_zero(%x) {count=u0}
           %1 = non_zero(%y) {count=u1}
           %2 = add(%0, %1)
           return %2
         }",
    );
    assert_eq!(run(&mut session, &[T, F, T], &[F, T, T, F], F), Ok(vec![1, 4]));
    let error = run(&mut session, &[T, T, T], &[F, T, T, F], F).unwrap_err();
    assert_eq!(error, "`u0` is 3 but `u1` is 2; they should be equal at the model");
    assert_eq!(run(&mut session, &[F, F, T], &[T], F), Ok(vec![2]));
}

#[test]
fn sizes_in_the_branch_that_runs() {
    let mut session = session(
        "graph(%x: bool[n], %y: bool[m], %both: bool[]) {
           %0 = non_zero(%x) {count=u0}
           %1 = if(%both, %0, %y) {types=[i64[]]} : i64[] then (%p: i64[1, u0], %q: bool[m]) {
             %0 = non_zero(%q) {count=v}
             %1 = add(%p, %0)
             %2 = reduce_sum(%1) {axes=[0, 1]}
             %3 = reshape(%2) {shape=[]}
             return %3
           } otherwise (%p: i64[1, u0], %q: bool[m]) {
             %0 = reduce_sum(%p) {axes=[0, 1]}
             %1 = reshape(%0) {shape=[]}
             return %1
           }
           return %1
         }",
    );
    assert_eq!(run(&mut session, &[T, F, T], &[F, T, T, F], T), Ok(vec![5]));
    assert_eq!(run(&mut session, &[T, F, T], &[T], F), Ok(vec![2]));
    let error = run(&mut session, &[T, F, T], &[T], T).unwrap_err();
    assert!(error.contains("they should be equal"), "{error}");
}
