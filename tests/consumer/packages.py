#!/usr/bin/env python3
"""The recipes for package managers parse, and name the version and the files that there are.

What needs no package manager and no compiler; check.sh builds the packages (conan, vcpkg).
"""

import ast
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PORT = ROOT / "packaging/vcpkg/ports/rayxx"
FIELDS = {"name", "version", "description", "license", "supports", "dependencies", "features"}


def version():
    text = (ROOT / "include/ray/version.hpp").read_text(encoding="utf-8")
    return ".".join(re.search(rf"^#define RAY_VERSION_{part} +(\d+)", text, re.MULTILINE)[1]
                    for part in ("MAJOR", "MINOR", "PATCH"))


def faults():
    for path in (ROOT / "vcpkg.json", PORT / "vcpkg.json"):
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            yield f"{path}: {error}"
            continue
        for key in set(manifest) - FIELDS:
            yield f"{path}: {key} is no field of a manifest that is known here"
        for feature, body in manifest.get("features", {}).items():
            if set(body) != {"description", "dependencies"}:
                yield f"{path}: feature {feature} has {sorted(body)}"
        for key, value in (("name", "rayxx"), ("version", version()), ("license", "Apache-2.0")):
            if manifest.get(key) != value:
                yield f"{path}: {key} is {manifest.get(key)!r}, not {value!r}"
    for name in ("portfile.cmake", "usage"):
        if not (PORT / name).is_file():
            yield f"{PORT / name} is missing"
    for path in (ROOT / "conanfile.py", ROOT / "packaging/conan_test_package/conanfile.py"):
        try:
            ast.parse(path.read_text(encoding="utf-8"))
        except (OSError, SyntaxError) as error:
            yield f"{path}: {error}"


if __name__ == "__main__":
    found = list(faults())
    sys.exit("\n".join(found) if found else 0)
