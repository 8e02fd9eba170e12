#!/usr/bin/env python3
"""tidy.py finds what it should: plants one fault after the other in a small clean tree."""

import pathlib
import sys
import tempfile

import tidy

CLEAN = {
    "CHANGELOG.md": "## [1.2.3]\n",
    "README.md": "See hello.\n",
    "CMakeLists.txt": """\
  include/ray/error.hpp
  include/ray/ray.hpp
  include/ray/remote.hpp
  include/ray/task/record.hpp
  include/ray/version.hpp
  src/scheduler/lane.cpp
  src/store/heap.cpp
""",
    "include/ray/error.hpp": "#pragma once\n",
    "include/ray/ray.hpp": "#pragma once\n#include <ray/error.hpp>\n#include <ray/remote.hpp>\n"
                           "#include <ray/version.hpp>\n",
    "include/ray/remote.hpp": "#pragma once\n#include <ray/task/record.hpp>\n",
    "include/ray/task/record.hpp": "#pragma once\n#include <ray/error.hpp>\n",
    "include/ray/version.hpp": "#pragma once\n#define RAY_VERSION_MAJOR 1\n"
                               "#define RAY_VERSION_MINOR 2\n#define RAY_VERSION_PATCH 3\n"
                               '#define RAY_VERSION_STRING "1.2.3"\n',
    "src/ray_all.cpp": '#include "scheduler/lane.cpp"\n#include "store/heap.cpp"\n',
    "src/scheduler/lane.cpp": "#include <ray/task/record.hpp>\n// std::thread in a comment\n",
    "src/store/heap.cpp": "#include <vector>\n",
    "examples/hello.cpp": "int main() {}\n",
}

FAULTS = [  # (rule, file, text put behind what the file has)
    ("edge", "src/scheduler/lane.cpp", '#include "store/heap.hpp"\n'),
    ("edge", "src/store/heap.cpp", "#include <ray/remote.hpp>\n"),
    ("edge", "include/ray/task/record.hpp", "#include <ray/runtime/engine.hpp>\n"),
    ("edge", "include/ray/error.hpp", "#include <ray/task/record.hpp>\n"),
    ("edge", "include/ray/remote.hpp", "#include <ray/control/control_store.hpp>\n"),
    ("room", "src/attic/junk.hpp", "int x;\n"),
    ("include-style", "include/ray/remote.hpp", '#include "task/record.hpp"\n'),
    ("third-party", "src/store/heap.cpp", "#include <asio.hpp>\n"),
    ("third-party", "include/ray/remote.hpp", "#include <ranges>\n"),
    ("thread", "src/store/heap.cpp", "std::thread t;\n"),
    ("clock", "include/ray/remote.hpp", "auto t = std::chrono::steady_clock::now();\n"),
    ("sleep", "src/store/heap.cpp", "std::this_thread::sleep_for(x);\n"),
    ("random", "src/store/heap.cpp", "std::random_device d;\n"),
    ("output", "include/ray/remote.hpp", "std::cout << 1;\n"),
    ("using-std", "examples/hello.cpp", "using namespace std;\n"),
    ("tab", "examples/hello.cpp", "\tint x;\n"),
    ("blank", "examples/hello.cpp", "int x; \n"),
    ("blank", "examples/hello.cpp", "int x;"),
    ("columns", "examples/hello.cpp", "// " + 98 * "x" + "\n"),
    ("left-behind", "src/store/heap.cpp", "// FIXME\n"),
    ("left-behind", "README.md", "TODO(now)\n"),
    ("size", "include/ray/remote.hpp", 400 * "\n"),
    ("size", "src/store/heap.cpp", 500 * "\n"),
    ("name", "src/store/heap_util.hpp", "#pragma once\n"),
    ("pragma-once", "include/ray/task/other.hpp", "\n"),
    ("umbrella", "include/ray/stray.hpp", "#pragma once\n"),
    ("listed", "include/ray/stray.hpp", "#pragma once\n"),
    ("listed", "src/store/stray.cpp", "\n"),
    ("listed", "CMakeLists.txt", "  src/store/gone.cpp\n"),
    ("listed", "examples/unknown.cpp", "\n"),
    ("version", "include/ray/version.hpp", "#define RAY_VERSION_PATCH 4\n"),
]


def breaches(files):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = pathlib.Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        sys.argv[1:] = [folder]
        return tidy.main()


def main():
    tidy.EXCEPTIONS.clear()
    found = breaches(CLEAN)
    if found:
        return f"breaches in a clean tree:\n{found}"
    missed = [f"[{rule}] was not found in {file} after adding {text[:60]!r}"
              for rule, file, text in FAULTS
              if f"[{rule}]" not in breaches({**CLEAN, file: CLEAN.get(file, "") + text})]
    tidy.EXCEPTIONS["src/store/heap.cpp", "size"] = "not needed"
    if "not needed any more" not in breaches(CLEAN):
        missed.append("an exception without need was not found")
    return "\n".join(missed)


if __name__ == "__main__":
    sys.exit(main() or 0)
