#!/usr/bin/env python3
"""Ray's microbenchmark: ours in threads and in processes, Ray's own, and what the machine allows.

    ./dev bench ray                              builds, and runs all of it
    ./dev bench ray --only sync --quick          rows with "sync" in the name, without waiting
    ./dev bench ray --no-ray                     without Python's Ray
    report.py --threads A.json --processes B.json --ray C.json       a table of what is there
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import python_ray  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
DISTURBED = 0.05  # Share of the machine that others may take.
REFUSED = 77  # What a program exits with when the runtime refuses the isolation.


def short(value):
    if value is None:
        return "-"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def ratio(ours, ray):
    """How many times Ray's figure ours is."""
    return "-" if not ours or not ray else short(ours / ray) + "x"


def rows_of(column):
    """name -> row, of a file by ray_microbenchmark or of the cache of Ray's figures."""
    rows = (column or {}).get("rows") or {}
    return dict(rows) if isinstance(rows, dict) else {row["name"]: row for row in rows}


def names_of(columns):
    """The names of all rows: ours in our order, then what only Ray has."""
    names = {}
    for column in columns:
        names.update(dict.fromkeys(rows_of(column)))
    return list(names)


def cell(row):
    if row is None:
        return "-"
    return short(row["mean"]) if "mean" in row else row["status"]


def table(threads, processes, ray):
    """The lines of the table."""
    columns = [threads, processes, ray]
    header = ["per second", "threads", "processes", "Ray", "threads/Ray", "processes/Ray"]
    rows = [header, []]
    for name in names_of([threads, processes]) or names_of([ray]):
        found = [rows_of(column).get(name) for column in columns]
        means = [None if row is None else row.get("mean") for row in found]
        rows.append([name, *map(cell, found), ratio(means[0], means[2]), ratio(means[1], means[2])])
    widths = [max(len(row[i]) for row in rows if row) for i in range(len(header))]
    rows[1] = ["-" * width for width in widths]
    return ["  ".join(text.ljust(width) if i == 0 else text.rjust(width)
                      for i, (text, width) in enumerate(zip(row, widths))).rstrip()
            for row in rows]


def notes(threads, processes, ray, why_no_ray):
    """What the table does not say by itself."""
    for name, column in (("threads", threads), ("processes", processes)):
        if column and column.get("refused"):
            yield f"{name}: refused: {column['refused']}"
        elif column and column.get("quick"):
            yield f"{name}: with --quick: not to be compared"
        if rows_of(column) and column.get("other_load", 0) > DISTURBED:
            yield f"{name}: disturbed: others took {column['other_load']:.0%} of the machine"
        for row in rows_of(column).values():
            if row.get("status") == "failed":
                yield f"{name}: {row['name']}: failed: {row['why']}"
    if ray:
        when = sorted({row["when"] for row in rows_of(ray).values() if "when" in row})
        yield (f"Ray {ray.get('version')}, Python at both ends, measured "
               f"{' to '.join(sorted({when[0], when[-1]})) if when else 'some time'} on "
               f"{ray.get('machine')}")
    if why_no_ray:
        yield f"Ray: skipped: {why_no_ray}"


def seconds_of_others():
    """Processor time since the start that neither we nor children we waited for have used."""
    with open("/proc/stat", encoding="ascii") as stat:
        ticks = [int(field) for field in stat.readline().split()[1:9]]
    user, nice, system, _, _, irq, softirq, steal = ticks
    busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    used = os.times()
    return busy - used.user - used.system - used.children_user - used.children_system


def run_ours(program, isolation, options, path):
    """What the program wrote, and the share of the machine that others took meanwhile; its rows go
    to the terminal as they come."""
    command = [str(program), f"--isolation={isolation}", "--json", str(path)]
    command += ["--quick"] if options.quick else []
    for pattern in options.only:
        command += ["--only", pattern]
    path.unlink(missing_ok=True)
    print(f"ours, {isolation}", file=sys.stderr, flush=True)
    before, start = seconds_of_others(), time.monotonic()
    code = subprocess.run(command, stdout=sys.stderr, check=False).returncode
    others = (seconds_of_others() - before) / (time.monotonic() - start) / os.cpu_count()
    if code not in (0, 1, REFUSED) or not path.exists():
        sys.exit(f"{' '.join(command)}: exit code {code}")
    options.failed |= code == 1
    column = {**load(path), "other_load": round(max(0.0, others), 3)}
    path.write_text(json.dumps(column, indent=1) + "\n", encoding="utf-8")
    return column


def load(path):
    return None if path is None else json.loads(path.read_text(encoding="utf-8"))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", default=[], metavar="PATTERN",
                        help="rows whose name contains this; more than once: any of them")
    parser.add_argument("--quick", action="store_true",
                        help="a few seconds: shows that all runs, gives no figures (of ours)")
    parser.add_argument("--no-ray", action="store_true", help="do not install or run Ray")
    parser.add_argument("--again", action="store_true", help="measure Ray's rows that are known")
    parser.add_argument("--no-limits", action="store_true", help="do not run process_limits")
    parser.add_argument("--build-dir", type=pathlib.Path, default=ROOT / "build" / "bench")
    parser.add_argument("--ray-dir", type=pathlib.Path, default=ROOT / "build",
                        help="for Ray's virtual environment and figures")
    for column in ("threads", "processes", "ray"):
        parser.add_argument(f"--{column}", type=pathlib.Path, metavar="JSON",
                            help="print what was measured before; run nothing")
    parser.add_argument("--parse-only", action="store_true",
                        help="look at these arguments and run nothing")
    options = parser.parse_args()
    options.failed = False
    return options


def main():
    options = parse_arguments()
    if options.parse_only:
        return 0
    why_no_ray = None
    if options.threads or options.processes or options.ray:
        threads, processes, ray = map(load, (options.threads, options.processes, options.ray))
    else:
        folder = options.build_dir / "benchmarks"
        program = folder / "ray_microbenchmark"
        if not program.exists():
            sys.exit(f"no {program}: build with -DRAY_BUILD_BENCHMARKS=ON first")
        threads, processes = (
            run_ours(program, isolation, options, options.build_dir / f"ray_{isolation}.json")
            for isolation in ("threads", "processes"))
        ray = None
        if not options.no_ray:
            try:
                ray = python_ray.measure(options.ray_dir, names_of([threads]), options.only,
                                         options.again)
            except python_ray.Unavailable as unavailable:
                why_no_ray = str(unavailable)
    print("\n".join(table(threads, processes, ray)))
    for note in notes(threads, processes, ray, why_no_ray):
        print(note)
    if not (options.no_limits or options.threads or options.processes or options.ray):
        print(flush=True)
        command = [str(folder / "process_limits"), "--json",
                   str(options.build_dir / "process_limits.json")]
        options.failed |= subprocess.run(command + ["--quick"] * options.quick,
                                         check=False).returncode != 0
    return 1 if options.failed else 0


if __name__ == "__main__":
    sys.exit(main())
