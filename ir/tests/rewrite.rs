//! The rule engine: what matches, what stops a rule, what is logged.
use sardonyx_ir::rewrite::{Rule, RuleSet, Trace, need, rule, rule_if};
use sardonyx_ir::{Graph, Op, OpBuilder, Origin, Type, text, verify};
use sardonyx_tensor::{DType, Tensor};

fn parse(source: &str) -> Graph {
    text::parse(source).unwrap_or_else(|e| panic!("{e}"))
}

/// Applies rules to a graph; its text without dead nodes.
fn rewritten(rules: Vec<Rule>, source: &str, trace: &Trace) -> String {
    let mut g = parse(source);
    RuleSet::new(rules).apply(&mut g, trace);
    g.remove_dead();
    verify::verify(&g).unwrap_or_else(|e| panic!("{e}"));
    text::print(&g)
}

fn check(rules: Vec<Rule>, before: &str, after: &str) {
    assert_eq!(rewritten(rules, before, &Trace::default()), text::print(&parse(after)));
}

fn silu() -> Rule {
    rule("silu", |[x]| x * x.sigmoid(), |[x]| x.silu(1.0))
}

fn chain() -> Rule {
    rule("chain", |[x]| x * 0.5 * (x.erf() + 1.0), |[x]| x.gelu())
}

#[test]
fn commutative_operands_match_both_ways() {
    for product in ["mul(%x, %0)", "mul(%0, %x)"] {
        check(
            vec![silu()],
            &format!("graph(%x: f32[2]) {{ %0 = sigmoid(%x) %1 = {product} return %1 }}"),
            "graph(%x: f32[2]) { %0 = silu(%x) return %0 }",
        );
    }
}

#[test]
fn chains_match_in_any_association() {
    let forms = [
        "%2 = mul(%x, 0.5) %3 = mul(%2, %1)",
        "%2 = mul(%1, 0.5) %3 = mul(%x, %2)",
        "%2 = mul(%1, %x) %3 = mul(0.5, %2)",
        "%2 = mul(%1, %x) %3 = div(%2, 2.0)",
        "%2 = div(%x, 2.0) %3 = mul(%1, %2)",
    ];
    for form in forms {
        for sum in ["add(%0, 1.0)", "add(1.0, %0)", "sub(%0, -1.0)"] {
            check(
                vec![chain()],
                &format!("graph(%x: f32[2]) {{ %0 = erf(%x) %1 = {sum} {form} return %3 }}"),
                "graph(%x: f32[2]) { %0 = gelu(%x) return %0 }",
            );
        }
    }
}

#[test]
fn a_variable_is_one_value() {
    let source = "graph(%x: f32[2], %y: f32[2]) { %0 = sigmoid(%x) %1 = mul(%y, %0) return %1 }";
    check(vec![silu()], source, source);
}

#[test]
fn a_shared_expression_is_one_value() {
    let twice = || {
        rule(
            "twice",
            |[x, y]| {
                let e = x.exp();
                (e + y) * e
            },
            |[x, y]| x.sin() + y,
        )
    };
    check(
        vec![twice()],
        "graph(%x: f32[2], %y: f32[2]) { %0 = exp(%x) %1 = add(%y, %0) %2 = mul(%1, %0) return %2 }",
        "graph(%x: f32[2], %y: f32[2]) { %0 = sin(%x) %1 = add(%0, %y) return %1 }",
    );
    let other = "graph(%x: f32[2], %y: f32[2]) { %0 = exp(%x) %1 = exp(%y) %2 = add(%y, %0) %3 = mul(%2, %1) return %3 }";
    check(vec![twice()], other, other);
}

#[test]
fn numbers_have_a_tolerance_except_0_and_1() {
    let half = || rule("half", |[x]| x * 0.33333, |[x]| x.neg());
    check(
        vec![half()],
        "graph(%x: f32[2]) { %0 = mul(%x, 0.33333333) return %0 }",
        "graph(%x: f32[2]) { %0 = neg(%x) return %0 }",
    );
    check(
        vec![half()],
        "graph(%x: f32[2,2]) { %c = const [0.33333] : f32[1,1] %0 = mul(%x, %c) return %0 }",
        "graph(%x: f32[2,2]) { %0 = neg(%x) return %0 }",
    );
    let one = || rule("one", |[x]| x * 1.0, |[x]| x);
    let near = "graph(%x: f32[2]) { %0 = mul(%x, 1.00001) return %0 }";
    check(vec![one()], near, near);
}

#[test]
fn integers_do_not_divide_by_factors() {
    let half = rule("half", |[x]| x * 0.5, |[x]| x);
    let source = "graph(%x: i64[2]) { %0 = div(%x, 2:i64) return %0 }";
    check(vec![half], source, source);
}

#[test]
fn inner_values_used_elsewhere_stop_a_rule() {
    let source = "graph(%x: f32[2]) { %0 = sigmoid(%x) %1 = mul(%x, %0) return %1, %0 }";
    let trace = Trace::new(None, Some("silu".to_string()));
    assert_eq!(rewritten(vec![silu()], source, &trace), text::print(&parse(source)));
    let [miss] = &trace.misses()[..] else { panic!("{:?}", trace.misses()) };
    assert_eq!(
        (miss.at.as_str(), miss.reason.as_str()),
        ("mul", "the value of sigmoid is used elsewhere too")
    );
}

#[test]
fn no_rule_changes_a_type() {
    let one = || rule("one", |[x]| x * 1.0, |[x]| x);
    let wider = "graph(%x: f32[2]) { %c = const [1.0] : f32[1,1] %0 = mul(%x, %c) return %0 }";
    let trace = Trace::new(None, Some("one".to_string()));
    assert_eq!(rewritten(vec![one()], wider, &trace), text::print(&parse(wider)));
    assert_eq!(trace.misses()[0].reason, "the type would change from f32[1,2] to f32[2]");
    // A dimension that is required to be equal is the same.
    let first = rule("first", |[x, y]| OpBuilder::sub(x, y), |[_, y]| y.neg());
    check(
        vec![first],
        "graph(%x: f32[n], %y: f32[m]) { %0 = sub(%x, %y) return %0 }",
        "graph(%x: f32[n], %y: f32[m]) { require n == m\n %0 = neg(%y) %1 = reshape(%0) {shape=[n]} return %1 }",
    );
}

#[test]
fn guards_read_attributes_and_give_reasons() {
    let last = rule_if(
        "last",
        |[x]| x.softmax(0),
        |m| {
            let Op::Softmax { axis } = m.op("softmax") else { panic!("bug: not a softmax") };
            need(*axis == 1, "not the last axis")?;
            Ok(*axis)
        },
        |[x], axis| x.log_softmax(*axis),
    );
    let trace = Trace::new(None, Some("last".to_string()));
    let source = "graph(%x: f32[2,3]) { %0 = softmax(%x) {axis=0} %1 = softmax(%0) {axis=1} return %1 }";
    let after = "graph(%x: f32[2,3]) { %0 = softmax(%x) {axis=0} %1 = log_softmax(%0) {axis=1} return %1 }";
    assert_eq!(rewritten(vec![last], source, &trace), text::print(&parse(after)));
    assert!(trace.misses().is_empty(), "a match of the root alone is no near miss");
}

#[test]
fn origins_are_united_and_logged() {
    let mut g = Graph::new();
    let x = g.input("x", Type::new(DType::F32, [2]));
    g.origin = Origin::named("s");
    let s = g.add(Op::Sigmoid {}, &[x]).unwrap();
    g.origin = Origin::named("m");
    let product = g.add(Op::Mul {}, &[x, s]).unwrap();
    g.set_outputs(vec![product], vec![]);
    let trace = Trace::default();
    RuleSet::new(vec![silu()]).apply(&mut g, &trace);
    let after = text::print(&g);
    assert!(after.contains("silu(%x) : f32[2]  // m, s"), "{after}");
    let [made] = &trace.rewrites()[..] else { panic!("{:?}", trace.rewrites()) };
    assert_eq!((made.rule, made.origin.names().collect::<Vec<_>>()), ("silu", vec!["m", "s"]));
}

#[test]
fn rewrites_can_be_limited() {
    let source = "graph(%x: f32[2]) { %0 = neg(%x) %1 = neg(%0) %2 = neg(%1) %3 = neg(%2) return %3 }";
    let double = || rule("double", |[x]| x.neg().neg(), |[x]| x);
    let after = "graph(%x: f32[2]) { %0 = neg(%x) %1 = neg(%0) return %1 }";
    let trace = Trace::new(Some(1), None);
    assert_eq!(rewritten(vec![double()], source, &trace), text::print(&parse(after)));
    assert_eq!(trace.len(), 1);
    check(vec![double()], source, "graph(%x: f32[2]) { return %x }");
}

#[test]
#[should_panic(expected = "the rules do not terminate: swap")]
fn rules_that_do_not_terminate_are_a_bug() {
    let swap = rule("swap", |[x, y]| OpBuilder::sub(x, y), |[x, y]| OpBuilder::sub(y, x).neg());
    rewritten(vec![swap], "graph(%x: f32[2]) { %0 = sub(%x, 1.0) return %0 }", &Trace::default());
}

#[test]
fn ten_thousand_nodes_take_no_time() {
    let mut g = Graph::new();
    let mut v = g.input("x", Type::new(DType::F32, [4]));
    let half = g.constant(Tensor::scalar(0.5f32));
    let one = g.constant(Tensor::scalar(1f32));
    for _ in 0..2_000 {
        let erf = g.add(Op::Erf {}, &[v]).unwrap();
        let sum = g.add(Op::Add {}, &[erf, one]).unwrap();
        let product = g.add(Op::Mul {}, &[v, sum]).unwrap();
        v = g.add(Op::Mul {}, &[product, half]).unwrap();
        v = g.add(Op::Exp {}, &[v]).unwrap();
    }
    g.set_outputs(vec![v], vec![]);
    let (trace, start) = (Trace::default(), std::time::Instant::now());
    RuleSet::new(vec![chain(), silu()]).apply(&mut g, &trace);
    assert_eq!(trace.len(), 2_000);
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}
