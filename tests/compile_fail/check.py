#!/usr/bin/env python3
"""check.py <file.cpp> <compiler>…: the file must not compile, and each compiler must say why.

Each file names in lines `// expect-error: text` what the output must contain, and has a twin, the
same file with -DTWIN, that compiles: so it fails for the reason it is about and for no other. Where
a text of ours is expected, it is the only error. A line `// flags: -W…` is for both.
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def no_source_lines(compiler):
    """The option that keeps source lines, which may hold the text looked for, out of the output."""
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True)
    is_clang = "clang" in version.stdout
    return "-fno-caret-diagnostics" if is_clang else "-fno-diagnostics-show-caret"


def compile_file(compiler, file, *more):
    command = [compiler, "-std=c++20", "-fsyntax-only", no_source_lines(compiler),
               f"-I{ROOT}/include", *more, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def fault_of(compiler, file, expected, flags):
    code, output = compile_file(compiler, file, *flags)
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
    file, compilers = pathlib.Path(sys.argv[1]), sys.argv[2:]
    text = file.read_text(encoding="utf-8")
    expected = re.findall(r"^// expect-error: *(.*\S)", text, re.MULTILINE)
    flags = " ".join(re.findall(r"^// flags: *(.*\S)", text, re.MULTILINE)).split()
    if not expected:
        return f"{file}: no line `// expect-error: text`"
    code, output = compile_file(compilers[0], file, *flags, "-DTWIN")
    if code != 0:
        return f"{file}: the twin (-DTWIN) does not compile:\n{output}"
    for compiler in compilers:
        if fault := fault_of(compiler, file, expected, flags):
            return f"{file}, {compiler}: {fault}"
    return None


if __name__ == "__main__":
    sys.exit(main())
