#!/usr/bin/env python3
"""What README.md and docs/ show is what there is.

    <!-- file: examples/hello.cpp -->     the code fence below equals that file
    <!-- output: hello -->                the code fence below is what that example prints

Each stands on the line above its fence. Links to files of this repository lead somewhere.

    docs.py                       compares files and links
    docs.py --programs <folder>   runs the examples in that folder and compares what they print
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
MARK = re.compile(r"^<!-- (file|output): *(\S+) -->\n(?:```\w*\n(.*?)^```$)?",
                  re.MULTILINE | re.DOTALL)


def pages():
    return [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "packaging").glob("*.md")]


def compare(page, kind, name, shown, programs):
    if shown is None:
        return f"{page}: no code fence right below the mark for {name}"
    if kind == "file":
        file = ROOT / name
        actual = file.read_text(encoding="utf-8") if file.is_file() else None
    else:
        done = subprocess.run([programs / name], capture_output=True, text=True, check=False,
                              timeout=50)
        actual = done.stdout if done.returncode == 0 else None
    if actual is None:
        return f"{page}: {name} does not exist or fails"
    if shown != actual:
        return f"{page}: differs from {name}, which is\n{actual}"
    return None


def broken_links(page):
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if not re.match(r"[a-z]+:", target) and not (page.parent / target).exists():
            yield f"{page}: {target} does not exist"


def main():
    programs = pathlib.Path(sys.argv[2]).resolve() if sys.argv[1:2] == ["--programs"] else None
    wanted = "output" if programs else "file"
    faults, shown_files = [], set()
    for page in pages():
        for kind, name, shown in MARK.findall(page.read_text(encoding="utf-8")):
            if kind == wanted:
                shown_files.add((page.name, name))
                faults.append(compare(page, kind, name, shown or None, programs))
        if not programs:
            faults += broken_links(page)
    if ("README.md", "hello" if programs else "examples/hello.cpp") not in shown_files:
        faults.append(f"README.md has no fence marked <!-- {wanted}: …hello… -->")
    return "\n".join(filter(None, faults))


if __name__ == "__main__":
    sys.exit(main() or 0)
