#!/usr/bin/env python3
"""Files that must not compile do not, and each compiler says why.

    check.py <folder> --prepare <compiler>…     precompiles <ray/ray.hpp> for what follows
    check.py <folder> <file.cpp> <compiler>…    checks one file

Each file names in lines `// expect-error: text` what the output must contain, and has a twin, the
same file with -DTWIN, that compiles: so it fails for the reason it is about and for no other. Where
a text of ours is expected, it is the only error. A line `// flags: -W…` is for both.
"""

import concurrent.futures
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLAGS = ["-std=c++20", f"-I{ROOT}/include"]


def is_clang(compiler):
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True)
    return "clang" in version.stdout


def prefix_of(folder, compiler):
    """A header that includes ours and nothing else; beside it lies what the compiler made of it."""
    return folder / pathlib.Path(compiler).name / "prefix.hpp"


def prepare(folder, compiler):
    prefix = prefix_of(folder, compiler)
    prefix.parent.mkdir(parents=True, exist_ok=True)
    prefix.write_text("#include <ray/ray.hpp>\n", encoding="utf-8")
    made = prefix.with_suffix(".hpp.pch" if is_clang(compiler) else ".hpp.gch")
    command = [compiler, *FLAGS, "-x", "c++-header", str(prefix), "-o", str(made)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode != 0 else None


def compile_file(folder, compiler, file, *more):
    prefix = prefix_of(folder, compiler)
    # Source lines, which may hold the text looked for, stay out of the output.
    if is_clang(compiler):
        options = ["-fno-caret-diagnostics", "-include-pch", f"{prefix}.pch"]
    else:
        options = ["-fno-diagnostics-show-caret", "-Winvalid-pch", "-Werror=invalid-pch",
                   "-include", str(prefix)]
    command = [compiler, *FLAGS, "-fsyntax-only", *options, *more, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def fault_of(folder, compiler, file, expected, flags):
    code, output = compile_file(folder, compiler, file, *flags)
    if code == 0:
        return "it compiles"
    for text in expected:
        if text not in output:
            return f"the compiler does not say: {text}\n{output}"
    errors = len(re.findall(r"\berror: ", output))
    if errors != 1 and any(text.startswith("ray: ") for text in expected):
        return f"{errors} errors instead of one:\n{output}"
    return None


def main():
    folder, compilers = pathlib.Path(sys.argv[1]), sys.argv[3:]
    if sys.argv[2] == "--prepare":
        with concurrent.futures.ThreadPoolExecutor() as pool:
            return next(filter(None, pool.map(lambda each: prepare(folder, each), compilers)), None)
    file = pathlib.Path(sys.argv[2])
    text = file.read_text(encoding="utf-8")
    expected = re.findall(r"^// expect-error: *(.*\S)", text, re.MULTILINE)
    flags = " ".join(re.findall(r"^// flags: *(.*\S)", text, re.MULTILINE)).split()
    if not expected:
        return f"{file}: no line `// expect-error: text`"
    if not re.search(r"\A(//.*\n)+#include <ray/ray\.hpp>\n", text):
        return f"{file}: it does not begin with comments and <ray/ray.hpp>, which comes first here"
    code, output = compile_file(folder, compilers[0], file, *flags, "-DTWIN")
    if code != 0:
        return f"{file}: the twin (-DTWIN) does not compile:\n{output}"
    for compiler in compilers:
        if fault := fault_of(folder, compiler, file, expected, flags):
            return f"{file}, {compiler}: {fault}"
    return None


if __name__ == "__main__":
    sys.exit(main())
