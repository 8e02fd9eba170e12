#!/usr/bin/env python3
"""Runs the benchmark programs of a build and prints what they say, beside the goals.

    python3 benchmarks/report.py --build-dir build/bench [--runs 5] [--quick] [workload ...]

Every workload is run in rounds: each implementation once per round, in alternating order. A run
during which other load took more than a twentieth of the machine is repeated; when it stays
disturbed, the least disturbed one counts and the table says so. The figure of an implementation
is the median of its processes' medians, its spread the distance from the lowest to the highest of
them. Only the standard library of Python is needed.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORKLOADS = ["fut", "fire", "fib", "nqueens", "chain", "tree", "tree_thin", "wave", "ping",
             "ping_cold", "memory", "actor", "grow", "events", "include"]
DISTURBED = 0.05  # share of the machine that other load may take during a run
TIMEOUT_S = 300
ASIDE = {"serial", "onetbb_fork"}  # shown, but doing less than the work: not the best peer


@dataclasses.dataclass(frozen=True)
class Variant:
    """One table: a workload in one size or mode."""
    workload: str
    mode: str = ""
    n: int = 0

    @property
    def key(self):
        if self.workload == "grow":
            return f"grow {self.mode} {self.n}"
        size = str(self.n) if self.n and not self.mode else ""
        return " ".join(filter(None, [self.workload, self.mode, size]))

    @property
    def arguments(self):
        return ([] if not self.mode else ["--mode", self.mode]) + (
            [] if not self.n else ["--n", str(self.n)])


GROW = {"tasks": [10**3, 10**4, 10**5, 10**6, 10**7], "get": [1, 10, 100, 10**3, 10**4],
        "fan_in": [1, 10, 100, 10**3, 10**4], "args": [1, 2, 4, 8, 16]}
VARIANTS = (
    [Variant(name) for name in WORKLOADS[:5]]
    + [Variant("tree", n=1024), Variant("tree", n=100), Variant("tree_thin"), Variant("wave"),
       Variant("ping"), Variant("ping_cold"), Variant("memory"), Variant("actor", "sync", 20_000),
       Variant("actor", "local", 200_000), Variant("actor", "async", 1_000_000),
       Variant("actor", "nn", 200_000), Variant("events", "empty"), Variant("events", "work")]
    + [Variant("grow", mode, n) for mode, sizes in GROW.items() for n in sizes])


@dataclasses.dataclass(frozen=True)
class Goal:
    """What our figure is to be at most. `gate` holds factors to peers of the same run, or a
    number; claim and stretch are numbers measured on two virtual cores, or a factor to a peer."""
    gate: dict
    claim: object = None
    stretch: object = None


GOALS = {
    "fut": Goal({"onetbb": 0.16, "asio": 0.12}, 140, 80),
    "fire": Goal({"onetbb": 0.35, "asio": 0.4}, 130, 60),
    "fib": Goal({"onetbb": 0.5}, 45, 28),
    "nqueens": Goal({"onetbb": 0.85}, 116, 100),
    "chain": Goal({"openmp": 0.12}, 130, 70),
    "tree 1024": Goal({"onetbb": 1.1}, ("onetbb", 1.0), 13.7),
    "tree 100": Goal({"onetbb": 1.1}, ("onetbb", 1.0)),
    "tree_thin": Goal({"onetbb": 1.3}, 1.0, 0.78),
    "wave": Goal({"onetbb": 0.35}, 11, 5),
    "ping": Goal({"onetbb": 1.0}, 0.45, 0.35),
    "ping p99": Goal({"": 10}),
    "ping_cold": Goal({"onetbb": 1.0}, 14.7, 10),
    "memory": Goal({"asio": 0.6}, 144, 104),
    "actor sync": Goal({"caf": 1.0}, ("caf", 0.5), ("caf", 0.25)),
    "actor local": Goal({"caf": 1.0}, ("caf", 0.5), ("caf", 0.25)),
    "actor async": Goal({"caf": 1.0}, ("caf", 0.5), ("caf", 0.25)),
    "actor nn": Goal({"caf": 1.0}, ("caf", 0.5), ("caf", 0.25)),
    "grow tasks": Goal({"": 1.2}),
    "grow get": Goal({"": 1.2}),
    "grow fan_in": Goal({"": 1.2}),
    "grow args": Goal({"": 1.2}),
    "include": Goal({"": 1.0}, None, 0.8),
    "include lines": Goal({"": 60_000}),
}
UNITS = {"ping p99": "us", "include lines": "lines"}


# --- running -------------------------------------------------------------------------------------

def machine_busy():
    """Seconds of work, and seconds stolen by the host, of all processors since the start."""
    with open("/proc/stat", encoding="ascii") as stat:
        ticks = [int(field) for field in stat.readline().split()[1:]]
    user, nice, system, _, _, irq, softirq, steal = ticks[:8]
    hertz = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq) / hertz, steal / hertz


@dataclasses.dataclass
class Run:
    output: str
    code: int
    seconds: float
    other: float  # share of the machine that others took meanwhile

    @property
    def disturbed(self):
        return self.other > DISTURBED


def run_once(command):
    """Runs a command; its own processor time is taken from what the machine did meanwhile."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        busy_before, steal_before = machine_busy()
        start = time.monotonic()
        child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        deadline = start + TIMEOUT_S
        while True:
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > deadline:
                child.kill()
            time.sleep(0.005)
        child.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - start
        busy, steal = machine_busy()
        others = busy - busy_before - usage.ru_utime - usage.ru_stime + steal - steal_before
        # The kernel counts in hundredths of a second for each processor: not to be trusted below.
        others -= 0.01 * os.cpu_count()
        output.seek(0)
        return Run(output.read(), child.returncode, seconds,
                   max(0.0, others) / (seconds * os.cpu_count()))


def run_quietly(command, options):
    """Repeats a disturbed run; the least disturbed one counts. On a machine that is never quiet
    it gives up repeating after a while: options.patience counts the vain attempts."""
    best = run_once(command)
    for _ in range(options.retries):
        if best.code != 0 or not best.disturbed or options.patience <= 0:
            break
        options.patience -= 1
        time.sleep(0.5)
        again = run_once(command)
        if again.code != 0 or again.other < best.other:
            best = again
    return best


def find_programs(build_dir):
    """workload -> implementation -> path, for every bench_<workload>_<implementation>."""
    programs = {}
    for path in sorted(build_dir.rglob("bench_*")):
        if not path.is_file() or path.suffix or not os.access(path, os.X_OK):
            continue
        name = path.name[len("bench_"):]
        workload = max((w for w in WORKLOADS if name.startswith(w + "_")), key=len, default=None)
        if workload:
            programs.setdefault(workload, {})[name[len(workload) + 1:]] = path
    return programs


class Measurements:
    """All lines of one report, and the programs that failed."""

    def __init__(self, path):
        self.lines = []
        self.failures = []
        self._path = path
        if path:
            path.write_text("", encoding="utf-8")

    def add(self, key, run, line):
        line = {"key": key, **line, "disturbed": run.disturbed, "other_load": round(run.other, 3)}
        self.lines.append(line)
        if self._path:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def fail(self, what, run):
        text = run.output.strip()
        self.failures.append(f"{what}: exit {run.code}: {text[-300:] or 'no output'}")
        print("FAILED " + self.failures[-1], file=sys.stderr)

    def of(self, key):
        """implementation -> its lines."""
        found = {}
        for line in self.lines:
            if line["key"] == key:
                found.setdefault(line["implementation"], []).append(line)
        return found


def measure(variant, programs, options, measurements):
    names = list(programs)
    failed = set()
    for round_ in range(options.runs):
        for name in names if round_ % 2 == 0 else reversed(names):
            if name in failed:
                continue
            command = [str(programs[name]), "--reps", str(options.reps), *variant.arguments]
            run = run_quietly(command, options)
            try:
                line = json.loads(run.output) if run.code == 0 else None
            except json.JSONDecodeError:
                line = None
            if line is None:
                failed.add(name)
                measurements.fail(f"{variant.key} / {name}", run)
                continue
            measurements.add(variant.key, run, line)


# --- include: what the header costs the compiler -------------------------------------------------

INCLUDES = {"ray": "ray/ray.hpp", "onetbb": "tbb/tbb.h", "asio": "asio.hpp",
            "boost_fiber": "boost/fiber/all.hpp", "caf": "caf/all.hpp", "cereal":
            "cereal/archives/binary.hpp", "taskflow": "taskflow/taskflow.hpp"}
MORE = 20  # functions in the program that measures one more


def compiler_of(build_dir):
    cache = build_dir / "CMakeCache.txt"
    if cache.exists():
        for line in cache.read_text(encoding="utf-8").splitlines():
            if line.startswith("CMAKE_CXX_COMPILER:"):
                return line.split("=", 1)[1]
    return os.environ.get("CXX") or "c++"


def source_with(functions):
    lines = ["#include <ray/ray.hpp>"]
    lines += [f"int f{i}(int x) {{ return x + {i}; }}" for i in range(functions)]
    lines += ["int main() {", "  int sum = 0;"]
    lines += [f"  sum += ray::get(ray::remote<f{i}>({i}));" for i in range(functions)]
    return "\n".join(lines + ["  return sum;", "}", ""])


def measure_include(options, measurements):
    """Seconds to compile a file that only includes, without optimization."""
    compiler = compiler_of(options.build_dir)
    flags = ["-std=c++20", f"-I{ROOT / 'include'}"]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        sources = {}
        for name, header in INCLUDES.items():
            if name == "ray" and not (ROOT / "include" / header).exists():
                continue
            path = folder / f"{name}.cpp"
            path.write_text(f"#include <{header}>\nint main() {{}}\n", encoding="utf-8")
            expanded = run_once([compiler, *flags, "-E", str(path)])
            if expanded.code == 0:
                sources[name] = (path, expanded.output.count("\n"))
            elif name == "ray":
                measurements.fail("include / ray", expanded)
        if "ray" in sources:
            for name, functions in (("one", 1), ("more", 1 + MORE)):
                path = folder / f"{name}.cpp"
                path.write_text(source_with(functions), encoding="utf-8")
                sources["ray " + name] = (path, 0)
        for round_ in range(options.runs):
            names = list(sources)
            for name in names if round_ % 2 == 0 else reversed(names):
                path, lines = sources[name]
                command = [compiler, *flags, "-c", str(path), "-o", str(folder / "out.o")]
                run = run_quietly(command, options)
                if run.code != 0:
                    measurements.fail(f"include / {name}", run)
                    continue
                measurements.add("include", run, {
                    "workload": "include", "implementation": name, "unit": "s",
                    "params": {"n": 1, "mode": ""}, "median": run.seconds, "lines": lines})


# --- figures -------------------------------------------------------------------------------------

def figure(lines, field="median"):
    values = [line[field] for line in lines if line.get(field) is not None]
    return statistics.median(values) if values else None


def figures_of(measurements, key):
    """implementation -> figure, fastest first."""
    found = {name: figure(lines) for name, lines in measurements.of(key).items()}
    return dict(sorted(found.items(), key=lambda item: item[1]))


def growth(measurements, mode):
    """The largest cost at any size over the lowest at a smaller one; 1.0 when it never grows."""
    lowest, worst = None, None
    for n in GROW[mode]:
        cost = figures_of(measurements, f"grow {mode} {n}").get("ray")
        if cost is None:
            continue
        if lowest is not None:
            worst = max(worst or 1.0, cost / lowest)
        lowest = cost if lowest is None else min(lowest, cost)
    return worst


def ours(measurements, goal_key):
    if goal_key.startswith("grow "):
        return growth(measurements, goal_key.split()[1])
    if goal_key == "ping p99":
        return figure(measurements.of("ping").get("ray", []), "p99")
    if goal_key == "include lines":
        return figure(measurements.of("include").get("ray", []), "lines")
    return figures_of(measurements, goal_key).get("ray")


def short(value):
    if value is None:
        return "-"
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


# --- tables --------------------------------------------------------------------------------------

def print_table(rows, header):
    widths = [max(len(str(row[i])) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, ["-" * width for width in widths], *rows]:
        cells = [str(cell).ljust(width) if i == 0 else str(cell).rjust(width)
                 for i, (cell, width) in enumerate(zip(row, widths))]
        print("  " + "  ".join(cells).rstrip())
    print()


def gate_peer(key):
    goal = GOALS.get(key)
    return next((peer for peer in goal.gate if peer), None) if goal else None


def print_workload(measurements, key):
    lines_of = measurements.of(key)
    figures = figures_of(measurements, key)
    if not figures:
        return
    parallel = {name: value for name, value in figures.items() if name not in ASIDE}
    best = min(parallel.values(), default=None)
    peer = gate_peer(key)
    base = figures.get(peer)
    sizes = [line["params"]["n"] for lines in lines_of.values() for line in lines]
    usual = max(set(sizes), key=sizes.count)
    rows = []
    for name, value in figures.items():
        lines = lines_of[name]
        medians = [line["median"] for line in lines]
        n = lines[0]["params"]["n"]
        disturbed = sum(line["disturbed"] for line in lines)
        remarks = [f"n={n:,}"] if n != usual else []
        remarks += [f"{disturbed} of {len(lines)} runs disturbed"] if disturbed else []
        if "allocated_per_task" in lines[0]:
            remarks.append(f"by malloc: {figure(lines, 'allocated_per_task'):.0f}")
        if lines[0].get("lines"):
            remarks.append(f"{lines[0]['lines']:,} lines")
        rows.append([name, short(value),
                     f"{100 * (max(medians) - min(medians)) / value:.0f} %" if value else "-",
                     short(figure(lines, "p99")),
                     f"{value / best:.2f}" if best and name in parallel else "-",
                     f"{value / base:.2f}" if base else "-", ", ".join(remarks)])
    unit = next(iter(lines_of.values()))[0]["unit"]
    print(f"{key} ({unit}, n = {usual:,})")
    print_table(rows, ["implementation", "median", "spread", "p99", "to best",
                       f"to {peer or 'peer'}", "remarks"])


def print_grow(measurements):
    for mode, sizes in GROW.items():
        rows = []
        for n in sizes:
            lines = measurements.of(f"grow {mode} {n}").get("ray", [])
            if lines:
                disturbed = sum(line["disturbed"] for line in lines)
                rows.append([f"{n:,}", short(figure(lines)), f"{disturbed} of {len(lines)}"])
        if rows:
            print(f"grow {mode} (ns for one)")
            print_table(rows, ["n", "ray", "disturbed"])


def print_include_extra(measurements):
    found = measurements.of("include")
    if "ray one" in found and "ray more" in found:
        more = (figure(found["ray more"]) - figure(found["ray one"])) / MORE
        print(f"  one more remote<F> with its get: {1000 * more:.1f} ms\n")


def limit(measurements, key, goal):
    """A number, or a peer's factor times what the peer took in this run."""
    if goal is None:
        return None
    if not isinstance(goal, tuple):
        return goal
    peer, factor = goal
    value = figures_of(measurements, key).get(peer)
    return None if value is None else value * factor


def verdict(value, bound):
    return "-" if bound is None else "yes" if value <= bound else "no"


def print_summary(measurements):
    """One line per goal; returns the gates that were missed."""
    rows, missed = [], []
    for key, goal in GOALS.items():
        value = ours(measurements, key)
        if value is None:
            continue
        bounds = {peer: limit(measurements, key, (peer, factor) if peer else factor)
                  for peer, factor in goal.gate.items()}
        known = {peer: bound for peer, bound in bounds.items() if bound is not None}
        text = ", ".join(f"{short(bound)}" + (f" ({goal.gate[peer]:g}x {peer})" if peer else "")
                         for peer, bound in known.items())
        gate = min(known.values(), default=None)
        claim = limit(measurements, key, goal.claim)
        stretch = limit(measurements, key, goal.stretch)
        rows.append([key, short(value), text or "no peer", verdict(value, gate), short(claim),
                     verdict(value, claim), short(stretch), verdict(value, stretch)])
        if verdict(value, gate) == "no":
            missed.append(key)
    if rows:
        print("summary: our figure is to be at most")
        print_table(rows, ["goal", "ours", "gate", "met", "claim", "met", "stretch", "met"])
    return missed


# --- chart ---------------------------------------------------------------------------------------

STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #1f2328; }
  .head { font-size: 15px; font-weight: 600; } .small { font-size: 11px; fill: #59636e; }
  .us { fill: #1a7f37; } .peer { fill: #9ba5b0; } .axis { stroke: #59636e; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .small { fill: #9198a1; } .us { fill: #3fb950; }
    .peer { fill: #57606a; } .axis { stroke: #9198a1; }
  }
"""


def draw(measurements, path):
    """Bars of what each takes beside the best peer, which is 1: ray and its four best peers."""
    left, scale, longest, bar = 190, 90.0, 6.0, 15
    body, y = [], 52
    for variant in VARIANTS:
        figures = {name: value for name, value in figures_of(measurements, variant.key).items()
                   if name not in ASIDE}
        peers = {name: value for name, value in figures.items() if name != "ray"}
        if "ray" not in figures or not peers:
            continue
        best = min(peers.values())
        shown = ["ray", *list(peers)[:4]]
        body.append(f'<text x="12" y="{y + 12}">{variant.key}</text>')
        for name in shown:
            ratio = figures[name] / best
            width = max(1.0, min(ratio, longest) * scale)
            kind = "us" if name == "ray" else "peer"
            beyond = " ⟶" if ratio > longest else ""
            body.append(f'<text class="small" x="{left - 6}" y="{y + 11}" text-anchor="end">'
                        f'{name}</text>')
            body.append(f'<rect class="{kind}" x="{left}" y="{y}" width="{width:.1f}" '
                        f'height="{bar - 3}" rx="2"/>')
            body.append(f'<text class="small" x="{left + width + 5:.1f}" y="{y + 10}">'
                        f'{ratio:.2f}{beyond}</text>')
            y += bar
        y += 10
    one = left + scale
    text = (f'<svg xmlns="http://www.w3.org/2000/svg" width="640" height="{y + 10}" '
            f'viewBox="0 0 640 {y + 10}" role="img">\n<title>ray beside its peers</title>\n'
            f'<style>{STYLE}</style>\n'
            '<text class="head" x="12" y="22">Cost beside the best peer (= 1); shorter is better'
            '</text>\n<text class="small" x="12" y="40">'
            'Medians of alternating runs on one machine; benchmarks/README.md</text>\n'
            f'<line class="axis" x1="{one}" y1="46" x2="{one}" y2="{y}" stroke-dasharray="2 3"/>\n'
            + "\n".join(body) + "\n</svg>\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


# --- command line --------------------------------------------------------------------------------

def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workloads", nargs="*", metavar="workload", help=" ".join(WORKLOADS))
    parser.add_argument("--build-dir", type=pathlib.Path, default=ROOT / "build" / "bench")
    parser.add_argument("--runs", "--reps-runs", dest="runs", type=int, default=5,
                        help="processes per implementation (5)")
    parser.add_argument("--reps", type=int, default=3, help="repetitions inside a process (3)")
    parser.add_argument("--retries", type=int, default=3, help="of a disturbed run (3)")
    parser.add_argument("--quick", action="store_true", help="2 processes, 1 repetition, 0 retries")
    parser.add_argument("--only", action="append", metavar="IMPLEMENTATION",
                        help="run only these implementations")
    parser.add_argument("--from", dest="source", type=pathlib.Path, metavar="JSONL",
                        help="print what an earlier report measured; run nothing")
    parser.add_argument("--svg", type=pathlib.Path, help="draw the chart here")
    parser.add_argument("--strict", action="store_true", help="exit 1 when a gate is missed")
    parser.add_argument("--parse-only", action="store_true",
                        help="look at these arguments and run nothing")
    options = parser.parse_args()
    unknown = set(options.workloads) - set(WORKLOADS)
    if unknown:
        parser.error(f"no workload {', '.join(sorted(unknown))}; there are: {' '.join(WORKLOADS)}")
    if options.quick:
        options.runs, options.reps, options.retries = 2, 1, 0
    options.patience = 50
    return options


def main():
    options = parse_arguments()
    if options.parse_only:
        return 0
    wanted = options.workloads or WORKLOADS
    if options.source:
        measurements = Measurements(None)
        for line in options.source.read_text(encoding="utf-8").splitlines():
            measurements.lines.append(json.loads(line))
    else:
        programs = find_programs(options.build_dir)
        if not programs and wanted != ["include"]:
            sys.exit(f"no bench_* programs under {options.build_dir}: build with "
                     "-DRAY_BUILD_BENCHMARKS=ON first")
        measurements = Measurements(options.build_dir / "results.jsonl")
    for variant in VARIANTS:
        if variant.workload not in wanted:
            continue
        if not options.source:
            chosen = {name: path for name, path in programs.get(variant.workload, {}).items()
                      if not options.only or name in options.only}
            measure(variant, chosen, options, measurements)
        if variant.workload != "grow":
            print_workload(measurements, variant.key)
    print_grow(measurements)
    if "include" in wanted:
        if not options.source and not options.only:
            measure_include(options, measurements)
        print_workload(measurements, "include")
        print_include_extra(measurements)
    missed = print_summary(measurements)
    if options.svg:
        draw(measurements, options.svg)
    for failure in measurements.failures:
        print("FAILED " + failure)
    if missed:
        print("gates missed: " + ", ".join(missed))
    return 1 if measurements.failures or (options.strict and missed) else 0


if __name__ == "__main__":
    sys.exit(main())
