#!/usr/bin/env python3
"""A table of Sardonyx beside torch.compile on the same GPU in fp16, measured in one run.

usage: torch_baseline.py [--sardonyx PROGRAM] [--device cuda:0] [--report NAME] [--limit S] [ROW...]

Networks (random weights) and single operations are those of torch_rows.py. PyTorch runs in its best mode of those that
fit the time: CUDA graphs, then max-autotune. Sardonyx runs `perf`, its inputs and outputs on the device. Both are
medians by the host's clock, each run until the device is done. Errors are ‖result − f32‖ / ‖f32‖ of the first output.
Writes NAME.md and NAME.json and prints the table. Needs a machine with torch and CUDA; the command is found at
target/release/sardonyx without --sardonyx, and NVRTC among PyTorch's packages without NVRTC_DYLIB_PATH.
"""
import argparse
import datetime
import json
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import torch

from torch_rows import MODELS, OPERATIONS, relative_error

HERE = pathlib.Path(__file__).resolve().parent
# How much of the time limit the rounds of PyTorch may use; the rest is for Sardonyx.
SHARES = {"reduce-overhead": 0.4, "eager": 0.5, "default": 0.55, "max-autotune": 0.7}


def find_libraries():
    """Lets the command find NVRTC and cuBLAS as PyTorch's packages bring them, or as CUDA installs them."""
    site = pathlib.Path(torch.__file__).resolve().parent.parent
    folders = [*site.glob("nvidia/*/lib"), pathlib.Path("/usr/local/cuda/lib64")]
    found = [path for folder in folders for path in folder.glob("libnvrtc.so.*") if "alt" not in path.name]
    if found:
        os.environ.setdefault("NVRTC_DYLIB_PATH", str(found[0]))
    paths = [os.environ.get("LD_LIBRARY_PATH"), *map(str, folders)]
    os.environ["LD_LIBRARY_PATH"] = ":".join(path for path in paths if path)


class Child:
    """A process that prints a JSON line per row; its other output goes to a log."""

    def __init__(self, command, log):
        self.lines = queue.Queue()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            if line.startswith("{"):
                self.lines.put(json.loads(line))
        self.lines.put(None)

    def next(self, seconds):
        """The next line; `None` at the end, or when it takes longer than that."""
        try:
            return self.lines.get(timeout=max(seconds, 0.01))
        except queue.Empty:
            return None

    def stop(self):
        self.process.kill()
        self.process.wait()


class Baseline:
    """One comparison: what is measured so far, and the time that is left."""

    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.begin = time.monotonic()
        self.log = open(f"{options.report}.log", "w", encoding="utf-8")
        self.rows = {row: {"row": row, "torch": [], "sardonyx": {}} for row in options.rows}
        self.exported = queue.Queue()

    def left(self, share=1.0):
        return self.options.limit * share - (time.monotonic() - self.begin)

    def say(self, text):
        print(f"[{time.monotonic() - self.begin:5.0f} s] {text}", file=sys.stderr, flush=True)

    def export(self):
        """Exports all rows, then compiles them, on the CPU."""
        child = Child([sys.executable, HERE / "torch_rows.py", "export", self.folder, *self.rows], self.log)
        compiler = threading.Thread(target=self.compile_all, daemon=True)
        compiler.start()
        while (found := child.next(self.left())) is not None:
            self.say(f"export {found}")
            if "failed" in found:
                self.rows[found["row"]]["sardonyx"]["failed"] = f"export: {found['failed']}"
            self.exported.put(found["row"])
        child.stop()
        self.exported.put(None)
        compiler.join()

    def compile_all(self):
        major, minor = torch.cuda.get_device_capability() if torch.cuda.is_available() else (9, 0)
        while (row := self.exported.get()) is not None:
            report = self.rows[row]["sardonyx"]
            if "failed" in report:
                continue
            command = ["compile", f"{row}.onnx", "-o", f"{row}.sdx", "--target", f"cuda:sm_{major}{minor}"]
            command += ["--libraries", self.options.libraries, "--dtype", "fp16", "--jobs", "6", "--cache", "cache"]
            begin = time.monotonic()
            _, failed = self.sardonyx(*command, limit=150)
            report["compile_seconds"] = time.monotonic() - begin
            self.say(f"compile {row}: {report['compile_seconds']:.1f} s {failed or ''}")
            if failed:
                report["failed"] = f"compile: {failed}"

    def sardonyx(self, *command, limit):
        """Runs the command in the folder; its stdout, and what is wrong."""
        try:
            done = subprocess.run([self.options.sardonyx, *command], cwd=self.folder, timeout=max(limit, 1), text=True,
                                  capture_output=True, check=False)
        except subprocess.TimeoutExpired:
            return "", f"not done in {limit:.0f} s"
        self.log.write(f"sardonyx {' '.join(command)}\n{done.stderr}\n")
        return done.stdout, None if done.returncode == 0 else f"exit {done.returncode}: {done.stderr.strip()[-400:]}"

    def torch_round(self, mode, rows):
        """Measures rows in one mode; a row that takes too long is left out, with its process."""
        rows = list(rows)
        while rows and self.left(SHARES[mode]) > 0:
            child = Child([sys.executable, HERE / "torch_rows.py", "measure", mode, self.folder, *rows], self.log)
            while rows:
                found = child.next(min(self.options.row_limit + 20, self.left(SHARES[mode]) + 5))
                row = rows.pop(0)
                if found is None:
                    self.say(f"torch {mode} {row}: no result in time")
                    self.rows[row]["torch"].append({"mode": mode, "failed": "no result in time"})
                    break
                self.say(f"torch {found}")
                self.rows[row]["torch"].append(found)
            child.stop()

    def measure_sardonyx(self, row):
        report = self.rows[row]["sardonyx"]
        if "failed" in report or self.left() < 0:
            report.setdefault("failed", "no time left")
            return
        common = [f"{row}.sdx", "--inputs", f"{row}.npz", "--device", self.options.device]
        text, failed = self.sardonyx("perf", *common, "--duration", "1", "--per-op", "--json", limit=60)
        if failed:
            report["failed"] = f"perf: {failed}"
            return
        found = json.loads(text)
        run = found["on_device"]
        report |= {"median": run["median"], "min": run["min"], "runs": run["runs"], "load": found["load"]}
        report |= {"with_copies_median": found["run"]["median"], "first_run": found["first_run"]}
        report |= {"libraries": found.get("libraries"), "kernels": found["kernels"][:12]}
        report["launches"] = sum(kernel["calls"] for kernel in found["kernels"])
        _, failed = self.sardonyx("run", *common, "--outputs", f"{row}.out.npz", limit=60)
        if failed:
            report["failed"] = f"run: {failed}"
            return
        outputs = np.load(self.folder / f"{row}.out.npz")
        result = outputs[outputs.files[0]]
        report["error"] = relative_error(result, np.load(self.folder / f"{row}.expected.npy"))
        self.say(f"sardonyx {row}: {report['median'] * 1e3:.3f} ms, error {report['error']:.1e}")

    def run(self):
        exporter = threading.Thread(target=self.export, daemon=True)
        exporter.start()
        operations = [row for row in self.rows if row in OPERATIONS]
        models = [row for row in self.rows if row in MODELS]
        # PyTorch compares its results with what the export computed.
        for row in self.rows:
            while not (self.folder / f"{row}.expected.npy").exists() and exporter.is_alive() and self.left(0.3) > 0:
                time.sleep(0.2)
        # The networks first; tuning, which takes a minute each, with what time is left.
        self.torch_round("reduce-overhead", models)
        for mode in ("eager", "default"):
            self.torch_round(mode, [row for row in operations if mode in OPERATIONS[row].modes])
        self.torch_round("max-autotune", models)
        exporter.join(timeout=max(self.left(0.8), 0.01))
        for row in self.rows:
            self.measure_sardonyx(row)
        self.log.close()


def best(row):
    """The fastest result of PyTorch."""
    return min((found for found in row["torch"] if "median" in found), key=lambda found: found["median"], default=None)


def work(row, seconds):
    """What an operation reaches: TFLOP/s, or TB/s of bytes read and written once."""
    operation = OPERATIONS.get(row)
    if operation is None or seconds is None:
        return ""
    if operation.flops:
        return f"{operation.flops / seconds / 1e12:.0f} TFLOP/s"
    elements = sum(int(np.prod(shape)) for shape in operation.shapes)
    elements += 0 if operation.node == "ReduceSum" else int(np.prod(operation.shapes[0]))
    return f"{2 * elements / seconds / 1e12:.2f} TB/s"


def markdown(rows):
    lines = ["| row | Sardonyx, ms | torch, ms | torch / Sardonyx | mode of torch | Sardonyx | torch | error | error of torch |"]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    for row in rows.values():
        ours, theirs, name = row["sardonyx"], best(row), row["row"]
        ms = lambda found: f"{found['median'] * 1e3:.3f}" if found and "median" in found else "–"
        ratio = f"{theirs['median'] / ours['median']:.2f}" if theirs and "median" in ours else "–"
        error = lambda found: f"{found['error']:.1e}" if found and "error" in found else "–"
        reached = [work(name, found.get("median") if found else None) for found in (ours, theirs)]
        cells = [name, ms(ours), ms(theirs), ratio, theirs["mode"] if theirs else "–", *reached, error(ours), error(theirs)]
        lines.append("| " + " | ".join(cells) + " |")
    for row in rows.values():
        if "failed" in row["sardonyx"]:
            lines += ["", f"{row['row']} failed: {' '.join(row['sardonyx']['failed'].split())[:300]}"]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sardonyx", default=str(HERE.parent / "target/release/sardonyx"), help="the command")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--libraries", choices=["none", "auto"], default="none", help="of Sardonyx: cuBLAS and cuDNN where they are faster")
    parser.add_argument("--report", default="torch-baseline", help="name of the files to write")
    parser.add_argument("--limit", type=float, default=470, help="seconds in all")
    parser.add_argument("--row-limit", type=float, default=75, help="seconds of PyTorch per row and mode")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join([*OPERATIONS, *MODELS]))
    options = parser.parse_intermixed_args()
    options.sardonyx = str(pathlib.Path(options.sardonyx).resolve())
    options.rows = options.rows or [*OPERATIONS, *MODELS]
    find_libraries()

    with tempfile.TemporaryDirectory() as folder:
        baseline = Baseline(options, pathlib.Path(folder))
        baseline.run()
    hardware = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    date = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    table = markdown(baseline.rows)
    about = f"{date}, {hardware}, torch {torch.__version__}, fp16; `benches/torch_baseline.py`, medians."
    pathlib.Path(f"{options.report}.md").write_text(f"{about}\n\n{table}\n", encoding="utf-8")
    whole = {"date": date, "hardware": hardware, "torch": torch.__version__, "rows": list(baseline.rows.values())}
    pathlib.Path(f"{options.report}.json").write_text(json.dumps(whole, indent=1), encoding="utf-8")
    print(f"{about}\n\n{table}")


if __name__ == "__main__":
    main()
