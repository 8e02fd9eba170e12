#!/usr/bin/env python3
"""What including us costs, and that each header can be included alone.

    headers.py <compiler>               the budget, each header, all sources
    headers.py <compiler> --together    ray.hpp and all sources only, for a second compiler
"""

import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Lines after the preprocessor for a file that includes <ray/ray.hpp>, without blank ones and line
# markers. The standard headers that its types need (string, vector, map, optional, variant, tuple,
# exception, coroutine, chrono, stop_token) are 47,598 of them with g++ 12, what <memory> adds is
# most of the rest. Counted raw (wc -l) those ten alone are 68,972.
LINES_MAX = 60_000
NEVER_REACHED = (r"/(asio|cereal|Eigen|openssl|hiredis)/|/asio\.hpp|concurrentqueue\.h"
                 r"|/(ranges|regex)$")


def run(compiler, *arguments, text=None):
    command = [compiler, "-std=c++20", f"-I{ROOT}/include", f"-I{ROOT}/src", *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


# Headers that are for those who have another library: where it is missing they are not looked at.
NEEDS = {"ray/cereal.hpp": "cereal/cereal.hpp", "ray/eigen.hpp": "Eigen/Core"}
SYSTEM = ["-isystem", "/usr/include/eigen3"]


def compiles(compiler, file):
    """None, or why the file does not compile alone; twice, since it must bear being repeated."""
    needed = NEEDS.get("/".join(file.parts[-2:]))
    if needed and run(compiler, *SYSTEM, "-E", "-x", "c++", "-",
                      text=f"#include <{needed}>\n").returncode:
        return None
    name = file.relative_to(ROOT / "include") if "include" in file.parts else file
    text = f"#include <{name}>\n" * 2 if file.suffix == ".hpp" else f'#include "{file}"\n'
    flags = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]
    done = run(compiler, *flags, *SYSTEM, "-fsyntax-only", "-x", "c++", "-", text=text)
    return f"{file} does not compile alone:\n{done.stderr}" if done.returncode else None


def budget(compiler):
    done = run(compiler, "-E", "-x", "c++", "-", text="#include <ray/ray.hpp>\n")
    if done.returncode:
        yield done.stderr
        return
    lines = len(re.findall(r"^ *[^#\s]", done.stdout, re.MULTILINE))
    print(f"<ray/ray.hpp> is {lines} lines")
    if lines > LINES_MAX:
        yield f"<ray/ray.hpp> is {lines} lines after the preprocessor, more than {LINES_MAX}"
    reached = set(re.findall(r'^# \d+ "([^"]+)"', done.stdout, re.MULTILINE))
    for header in sorted(reached):
        if re.search(NEVER_REACHED, header):
            yield f"<ray/ray.hpp> reaches {header}"


def main():
    compiler = sys.argv[1]
    found = list(budget(compiler))
    pattern = "ray/ray.hpp" if "--together" in sys.argv else "**/*.hpp"
    files = sorted((ROOT / "include").glob(pattern)) + [ROOT / "src/ray_all.cpp"]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found += filter(None, pool.map(lambda file: compiles(compiler, file), files))
    return "\n".join(found)


if __name__ == "__main__":
    sys.exit(main() or 0)
