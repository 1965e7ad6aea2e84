"""Prints tests/versions/table.txt: the versions since which an operator of ONNX means or takes something new, as
far as opsets from 7 on see them, and the element types that each takes; before them, of which operand. Run with the Python of .venv, which has
the `onnx` package."""
import collections
import re

import onnx.defs

OLDEST = 7
# Operands whose type the others follow, where it is not the first.
SUBJECTS = {"Where": 1, "OneHot": 2, "Loop": 2}
# Operators of which the result's type varies more than the first operand's.
RESULTS = {"ConstantOfShape", "If", "HannWindow", "HammingWindow", "BlackmanWindow", "MelWeightMatrix"}
NAMES = {"float": "f32", "double": "f64", "float16": "f16", "bfloat16": "bf16"}


def name(onnx_type):
    text = re.search(r"tensor\((\w+)\)", onnx_type)
    if not text or "complex" in onnx_type:
        return None
    text = text[1]
    for long, short in [("float8", "f8"), ("float4", "f4"), ("uint", "u"), ("int", "i")]:
        if text.startswith(long) and text not in NAMES:
            return short + text[len(long) :]
    return NAMES.get(text, text)


def place(schema):
    """Of the operand whose type is told, or "result"."""
    return "result" if schema.name in RESULTS or not schema.inputs else SUBJECTS.get(schema.name, 0)


def types(schema):
    at = place(schema)
    subject = schema.outputs[0] if at == "result" else schema.inputs[at]
    allowed = [subject.type_str]
    for constraint in schema.type_constraints:
        if constraint.type_param_str == subject.type_str:
            allowed = constraint.allowed_type_strs
    return sorted(set(filter(None, map(name, allowed))))


versions = collections.defaultdict(list)
for schema in onnx.defs.get_all_schemas_with_history():
    versions[schema.domain or "ai.onnx", schema.name].append(schema)
for (domain, operator), schemas in sorted(versions.items()):
    schemas.sort(key=lambda schema: schema.since_version)
    last = len(schemas) - 1
    oldest = OLDEST if domain == "ai.onnx" else 0
    seen = [
        str(schema.since_version) + ("!" if schema.deprecated else ":" + ",".join(types(schema)))
        for i, schema in enumerate(schemas)
        if i == last or schemas[i + 1].since_version > oldest
    ]
    print(domain, operator, place(schemas[-1]), *seen)
