"""Prints tests/versions/table.txt: the versions since which an operator of ONNX means or takes something new, as
far as opsets from 7 on see them. Run with the Python of .venv, which has the `onnx` package."""
import collections

import onnx.defs

OLDEST = 7

versions = collections.defaultdict(list)
for schema in onnx.defs.get_all_schemas_with_history():
    versions[schema.domain or "ai.onnx", schema.name].append((schema.since_version, schema.deprecated))
for (domain, name), all_versions in sorted(versions.items()):
    all_versions.sort()
    last = len(all_versions) - 1
    oldest = OLDEST if domain == "ai.onnx" else 0
    seen = [
        str(since) + ("!" if gone else "")
        for i, (since, gone) in enumerate(all_versions)
        if i == last or all_versions[i + 1][0] > oldest
    ]
    print(domain, name, *seen)
