#!/usr/bin/env python3
"""The rules of this code base that a script can check. Prints every breach; run from anywhere.

The rules are the tables below. Where a rule is wrong for one file, the file stands in EXCEPTIONS
with the reason; an exception that is no longer needed is a breach too.

    tidy.py [folder]      checks that tree instead of the one in which the script lies
"""

import pathlib
import re
import sys

# --- rooms: who may include whom; every room may include itself ----------------------------------

# A room is a folder of include/ray and src. Two rooms have no folder of their own: `words`, the
# values that everybody speaks of, and `api`, the other headers directly in include/ray.
WORDS = {"config.hpp", "version.hpp", "ids.hpp", "error.hpp", "options.hpp", "state.hpp"}
ROOMS = {
    "words": set(),
    "task": {"words"},
    "scheduler": {"words", "task"},
    "store": {"words", "task"},
    "control": {"words", "task"},
    "transport": {"words", "task"},
    "runtime": {"words", "task", "scheduler", "store", "control", "transport", "api", "detail"},
    "sim": {"words", "task", "scheduler", "store", "control", "transport", "runtime", "api"},
    "detail": {"words", "task", "scheduler", "store", "runtime", "api"},
    "api": {"words", "task", "scheduler", "store", "runtime", "detail"},
}

# --- words: what may not stand in which files, unless in the places named -----------------------

CODE = ("include/", "src/")
EVERYWHERE = ("include/", "src/", "tests/", "examples/", "benchmarks/")
BANNED = [  # (name, pattern, where it is banned, where not, what to do instead)
    ("thread", r"\bstd::j?thread\b(?!::)", CODE, ("src/runtime/",), "let the runtime run it"),
    ("clock", r"\b(?:steady|system|high_resolution)_clock::now\b", CODE, ("src/runtime/",),
     "take the time as an argument"),
    ("sleep", r"\bsleep_(?:for|until)\b", CODE, (), "wait for a condition with a deadline"),
    ("random", r"\brandom_device\b|\bs?rand\(", CODE, (), "take a seed as an argument"),
    ("output", r"\bstd::(?:cout|cerr|clog)\b|\bprintf\(", CODE,
     ("src/runtime/worker_process.cpp",), "return a string"),
    ("using-std", r"\busing namespace std\s*;", EVERYWHERE, (), "name what you use"),
]
LEFT_BEHIND = r"\bFIXME\b|\bXXX\b|\bTODO\(now\)"

# --- third parties: where their headers may be included -----------------------------------------

THIRD_PARTIES = {  # pattern of the include -> files that may
    r"asio(\.hpp|/)": ("src/transport/tcp.cpp", "examples/", "benchmarks/"),
    r"(.*/)?concurrentqueue\.h": ("src/runtime/worker_pool.cpp", "benchmarks/"),
    r"cereal/": ("include/ray/cereal.hpp", "tests/processes/", "benchmarks/"),
    r"Eigen/": ("include/ray/eigen.hpp",),
    r"(openssl|hiredis)/": ("src/transport/", "src/control/"),
    r"(ranges|iostream|regex)$": ("src/", "tests/", "examples/", "benchmarks/"),
}

# --- sizes and names -----------------------------------------------------------------------------

LINES_MAX = {"include/": 400, "src/": 500}
COLUMNS_MAX = 100
BANNED_NAMES = ("util", "utils", "helper", "helpers", "common", "misc", "base", "manager", "impl",
                "data", "info")
TEXT = (".hpp", ".cpp", ".cmake", "CMakeLists.txt", ".py", ".sh", ".json", ".md", ".in", "dev")
MADE_BY_TOOLS = {"build", "CMakeUserPresets.json", "__pycache__"}
FOLDERS = ("include", "src", "tests", "examples", "benchmarks", "cmake", "docs", "packaging")

APART = ("src/sim/",)  # In libraries of their own.

EXCEPTIONS = {  # (file, rule): reason
    ("include/ray/future.hpp", "umbrella"): "<future> would double what ray.hpp costs a user",
    ("include/ray/cereal.hpp", "umbrella"): "only for those who have cereal",
    ("include/ray/eigen.hpp", "umbrella"): "only for those who have Eigen",
}


class Tree:
    """The files of a checkout, and the breaches found in them."""

    def __init__(self, root):
        self.root = root
        self.breaches = []
        self.used_exceptions = set()
        files = [path for path in root.iterdir() if path.is_file()]
        for folder in FOLDERS:
            files += (root / folder).rglob("*")
        self.text = {
            path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
            for path in sorted(files)
            if path.is_file() and path.name.endswith(TEXT)
            and not MADE_BY_TOOLS.intersection(path.relative_to(root).parts)}

    def breach(self, file, rule, message, line=None):
        if (file, rule) in EXCEPTIONS:
            self.used_exceptions.add((file, rule))
        else:
            where = f"{file}:{line}" if line else file
            self.breaches.append(f"{where}: {message} [{rule}]")

    def under(self, *prefixes, suffix=("",)):
        return [file for file in self.text if file.startswith(prefixes) and file.endswith(suffix)]


def without_comments(line):
    return re.sub(r"//.*", "", line)


def room_of(file):
    """The room of include/ray/x/y.hpp, src/x/y.cpp or "x/y.hpp"; None for what has none."""
    parts = re.sub(r"^(include/ray/|src/|ray/)", "", file).split("/")
    if len(parts) > 1:
        return parts[0]
    if file.startswith(("include/ray/", "ray/")):
        return "words" if parts[0] in WORDS else "api"
    return None


def includes_of(text):
    for number, line in enumerate(text.splitlines(), 1):
        found = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if found:
            yield number, found[1], found[2]


def check_rooms(tree):
    for file in tree.under(*CODE, suffix=(".hpp", ".cpp")):
        room = room_of(file)
        if room is None:
            continue
        if room not in ROOMS:
            tree.breach(file, "room", f"'{room}' is no room; see ROOMS")
            continue
        for line, quote, header in includes_of(tree.text[file]):
            if quote == "<" and not header.startswith("ray/"):
                continue
            target = room_of(header)
            if quote == '"' and file.startswith("include/"):
                tree.breach(file, "include-style", f"write <ray/…>, not \"{header}\"", line)
            elif target not in ROOMS[room] | {room, None}:
                tree.breach(file, "edge", f"{room} may not include {target} ({header})", line)


def check_third_parties(tree):
    for file in tree.under(*EVERYWHERE, suffix=(".hpp", ".cpp")):
        for line, _, header in includes_of(tree.text[file]):
            for pattern, allowed in THIRD_PARTIES.items():
                if re.match(pattern, header) and not file.startswith(allowed):
                    tree.breach(file, "third-party", f"<{header}> is not included here", line)


def check_words(tree):
    for name, pattern, where, not_where, instead in BANNED:
        for file in tree.under(*where, suffix=(".hpp", ".cpp")):
            if file.startswith(not_where):
                continue
            for number, line in enumerate(tree.text[file].splitlines(), 1):
                found = re.search(pattern, without_comments(line))
                if found:
                    tree.breach(file, name, f"'{found[0]}' is not used here: {instead}", number)


def check_lines(tree):
    for file, text in tree.text.items():
        if file.startswith("tests/tidy/") or file == "LICENSE":
            left_behind = None
        else:
            left_behind = re.compile(LEFT_BEHIND)
        for number, line in enumerate(text.splitlines(), 1):
            if "\t" in line:
                tree.breach(file, "tab", "a tab", number)
            if line != line.rstrip():
                tree.breach(file, "blank", "blanks at the end", number)
            if len(line) > COLUMNS_MAX and not file.endswith((".md", ".json")):
                tree.breach(file, "columns", f"{len(line)} columns", number)
            if left_behind and left_behind.search(line):
                tree.breach(file, "left-behind", "something was left behind", number)
        if text and not text.endswith("\n"):
            tree.breach(file, "blank", "no newline at the end")


def check_sizes_and_names(tree):
    for folder, lines_max in LINES_MAX.items():
        for file in tree.under(folder):
            lines = tree.text[file].count("\n")
            if lines > lines_max:
                tree.breach(file, "size", f"{lines} lines, at most {lines_max}: two ideas?")
    for file in tree.under(*CODE, "tests/"):
        words = re.split(r"[_.]", file.rsplit("/", 1)[-1])
        for word in set(words) & set(BANNED_NAMES):
            tree.breach(file, "name", f"'{word}' says nothing; what is the idea?")
    for file in tree.under("include/", suffix=(".hpp",)):
        if "#pragma once" not in tree.text[file]:
            tree.breach(file, "pragma-once", "no #pragma once")


def check_lists(tree):
    """Every file is named where its readers, compilers and packagers look."""
    cmake = tree.text.get("CMakeLists.txt", "")
    umbrella = tree.text.get("include/ray/ray.hpp", "")
    everything = tree.text.get("src/ray_all.cpp", "")
    for file in tree.under("include/ray/", suffix=(".hpp",)):
        if not re.search(rf"^ *{re.escape(file)}$", cmake, re.MULTILINE):
            tree.breach(file, "listed", "not in RAY_HEADERS of CMakeLists.txt")
        name = file.removeprefix("include/")
        if name.count("/") == 1 and name != "ray/ray.hpp" and f"#include <{name}>" not in umbrella:
            tree.breach(file, "umbrella", "neither in a room nor in ray.hpp")
    for file in tree.under("src/", suffix=(".cpp",)):
        if file == "src/ray_all.cpp":
            continue
        if not re.search(rf"^ *{re.escape(file)}$", cmake, re.MULTILINE):
            tree.breach(file, "listed", "not in RAY_SOURCES of CMakeLists.txt")
        included = f'#include "{file.removeprefix("src/")}"' in everything
        if file.startswith(APART):
            if included:
                tree.breach(file, "listed", "in src/ray_all.cpp: who does not ask for it pays")
        elif not included:
            tree.breach(file, "listed", "not in src/ray_all.cpp")
    for file in re.findall(r"^ *((?:include|src)/\S+\.[ch]pp)$", cmake, re.MULTILINE):
        if file not in tree.text:
            tree.breach("CMakeLists.txt", "listed", f"{file} does not exist")

    pages = "".join(tree.text[file] for file in tree.text
                    if file == "README.md" or file.startswith("docs/"))
    for file in tree.under("examples/", suffix=(".cpp",)):
        if not re.search(rf"\b{pathlib.PurePath(file).stem}\b", pages):
            tree.breach(file, "listed", "neither in README.md nor in docs/")


def check_version(tree):
    header = tree.text.get("include/ray/version.hpp", "")
    numbers = re.findall(r"^#define RAY_VERSION_(?:MAJOR|MINOR|PATCH) +(\d+)$", header, re.M)
    version = ".".join(numbers)
    if f'"{version}"' not in header:
        tree.breach("include/ray/version.hpp", "version", f"the text is not \"{version}\"")
    if f"## [{version}]" not in tree.text.get("CHANGELOG.md", ""):
        tree.breach("CHANGELOG.md", "version", f"no section ## [{version}]")


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2])
    tree = Tree(root.resolve())
    for check in (check_rooms, check_third_parties, check_words, check_lines,
                  check_sizes_and_names, check_lists, check_version):
        check(tree)
    for file, rule in set(EXCEPTIONS) - tree.used_exceptions:
        tree.breaches.append(f"{file}: the exception is not needed any more [{rule}]")
    return "\n".join(tree.breaches)


if __name__ == "__main__":
    sys.exit(main() or 0)
