//! Texts as inputs, weights and outputs.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use sardonyx_runtime::manifest::*;
use sardonyx_runtime::tensor::{DType, Tensor};
use sardonyx_runtime::{Device, Input};

/// Splits `x` at the text that is a weight.
fn split_program() -> Build {
    let mut build = Build::new();
    let x = build.input("x", DType::String, "n");
    let comma = Tensor::from_texts([], &[","]);
    let weight = build.builder.tensor("comma", Box::leak(Box::new(comma)));
    let delimiter = build.buffer(DType::String, "", Place::Weight(weight));
    let parts = build.output("parts", DType::String, "n,u0");
    let counts = build.output("counts", DType::I64, "n");
    build.step(Step::Host(Host {
        op: "text_split".into(),
        inputs: vec![x, delimiter],
        outputs: vec![parts, counts],
        attrs: serde_json::json!({ "most": -1 }),
        binds: vec!["u0".into()],
        origins: vec![0],
    }));
    build
}

#[test]
fn texts_go_in_and_come_out() {
    let mut session = split_program().program().session(Device::cpu()).unwrap();
    let mut kept = Vec::new();
    for text in ["a,b", "c,,d", ","] {
        let x = Tensor::from_texts([2], &["z", text]);
        let outputs = session.run([("x", x)]).unwrap();
        kept.push(outputs[0].clone());
        assert_eq!(outputs[1].get_i64(0), 1);
    }
    let expected = [
        Tensor::from_texts([2, 2], &["z", "", "a", "b"]),
        Tensor::from_texts([2, 3], &["z", "", "", "c", "", "d"]),
        Tensor::from_texts([2, 2], &["z", "", "", ""]),
    ];
    assert_eq!(kept, expected);
}

#[test]
fn texts_are_no_bytes() {
    let mut session = split_program().program().session(Device::cpu()).unwrap();
    let x = Input { name: "x", dtype: DType::String, shape: &[1], bytes: &[0; 8] };
    let error = session.run_into(&[x], &mut []).unwrap_err().to_string();
    assert_eq!(error, "the buffer of `x` cannot be given: elements of type string are no bytes");
    // Numbers without a heap are empty texts, whatever the program knows under them.
    let foreign = Tensor::new(DType::String, [1], 1u64.to_le_bytes()).unwrap();
    assert_eq!(session.run([("x", foreign)]).unwrap()[0].texts(), [""]);
}

#[test]
fn golden_texts_are_compared() {
    let program = |expected: &str| {
        let mut builder = split_program().finish();
        let x = builder.owned_tensor("golden x", &Tensor::from_texts([1], &["p,q"]));
        let parts = builder.owned_tensor("golden parts", &Tensor::from_texts([1, 2], &["p", expected]));
        let counts = builder.owned_tensor("golden counts", &Tensor::from_slice([1], &[2i64]));
        let (inputs, outputs) = (vec![x], vec![parts, counts]);
        builder.manifest.golden = Some(Golden { inputs, outputs, atol: 0.0, rtol: 0.0 });
        builder.finish().unwrap()
    };
    program("q").session(Device::cpu()).unwrap().self_test().unwrap();
    let error = program("r").session(Device::cpu()).unwrap().self_test().unwrap_err().to_string();
    assert!(error.contains(r#"is string[1, 2] ["p", "q"], string[1, 2] ["p", "r"] is expected"#), "{error}");
}

#[test]
fn weights_of_lists_are_refused() {
    let mut build = split_program();
    build.builder.owned_tensor("list", &Tensor::from_list([]));
    let error = build.finish().finish().unwrap_err().to_string();
    assert!(error.ends_with("weight `list` is a list"), "{error}");
}
