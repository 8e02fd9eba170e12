"""Ray itself, from PyPI, in a virtual environment of its own: runs `ray microbenchmark`.

Nothing but the column of Ray depends on this. Where Ray cannot be had, Unavailable says why. What
was measured is kept in a file, row by row, until another version of Ray or another machine comes.
"""

import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

PACKAGES = ["ray[client]", "numpy"]  # What its microbenchmark imports.
INSTALL_S = 900
RUN_S = 3600
ROW = re.compile(r"^(?P<name>.+) per second (?P<mean>[0-9.eE+-]+|nan) \+- (?P<sd>[0-9.eE+-]+|nan)$")


class Unavailable(Exception):
    """Why there is no column of Ray."""


def parse(output):
    """name -> {"mean", "sd"}, of what Ray prints; every other line is ignored."""
    rows = {}
    for line in output.splitlines():
        found = ROW.match(line.strip())
        if found:
            rows[found["name"]] = {"mean": float(found["mean"]), "sd": float(found["sd"])}
    return rows


def machine():
    """What a figure depends on besides Ray: the processors."""
    model = "unknown"
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return f"{len(os.sched_getaffinity(0))} x {model}"


def why_pip_failed(output):
    """One line that says what stood in the way."""
    if re.search(r"NewConnectionError|ConnectTimeout|ReadTimeout|ProxyError|SSLError|"
                 r"Max retries exceeded|Name or service not known|Temporary failure", output):
        return "pip cannot reach a package index"
    if "No matching distribution found" in output:
        return f"no package of Ray fits Python {sys.version_info[0]}.{sys.version_info[1]} here"
    lines = [line for line in output.strip().splitlines() if line.strip()]
    return "pip failed: " + (lines[-1] if lines else "it said nothing")


def call(command, seconds, why):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=seconds, check=False)
    except subprocess.TimeoutExpired as expired:
        raise Unavailable(f"{command[0]} took longer than {seconds} s") from expired
    except OSError as error:
        raise Unavailable(f"{command[0]}: {error.strerror}") from error
    if done.returncode != 0:
        raise Unavailable(why(done.stdout))
    return done.stdout


@dataclasses.dataclass
class Environment:
    """The virtual environment in `folder`, with Ray in it once install() has returned."""
    folder: pathlib.Path

    @property
    def python(self):
        return self.folder / "bin" / "python"

    def version(self):
        """Of the Ray that is installed, or None."""
        if not self.python.exists():
            return None
        done = subprocess.run(
            [self.python, "-c", "import importlib.metadata as m, numpy, grpc; print("
             "m.version('ray'))"], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    def install(self):
        """Returns the version of Ray."""
        version = self.version()
        if version:
            return version
        call([sys.executable, "-m", "venv", "--clear", str(self.folder)], 120,
             lambda output: "no virtual environment (on Debian: apt-get install python3-venv)")
        call([str(self.python), "-m", "pip", "install", "--only-binary", ":all:", *PACKAGES],
             INSTALL_S, why_pip_failed)
        version = self.version()
        if not version:
            raise Unavailable("Ray was installed and cannot be imported")
        return version

    def run(self, pattern, log):
        """Runs Ray's microbenchmark: the rows whose name contains `pattern`, all when it is empty.
        Returns what it printed, also before a crash, and whether it ran to its end. What it says
        on stderr goes into `log`."""
        # Neither another cluster nor settings of our library: RAY_… means both.
        environment = {key: value for key, value in os.environ.items()
                       if not key.startswith("RAY_")}
        environment.update(PYTHONUNBUFFERED="1", RAY_USAGE_STATS_ENABLED="0")
        if pattern:
            environment["TESTS_TO_RUN"] = pattern
        with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as session, \
                tempfile.TemporaryFile("w+", encoding="utf-8") as output, \
                open(log, "a", encoding="utf-8") as errors:
            environment["RAY_TMPDIR"] = session
            child = subprocess.Popen([self.folder / "bin" / "ray", "microbenchmark"],
                                     stdout=output, stderr=errors, env=environment)
            deadline = time.monotonic() + RUN_S
            shown = 0
            try:
                while child.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.5)
                    output.seek(0)
                    rows = parse(output.read())
                    for name in list(rows)[shown:]:
                        print(f"  {name} per second {rows[name]['mean']:.2f} +- "
                              f"{rows[name]['sd']:.2f}", file=sys.stderr, flush=True)
                    shown = len(rows)
            finally:
                stop(child)
            output.seek(0)
            return parse(output.read()), child.returncode == 0


def stop(child):
    """Ray ends its own processes when it is asked to end, and they end with it when it is not."""
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(timeout=30)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


class Cache:
    """What was measured of one version of Ray on one machine."""

    def __init__(self, path, version, machine_name):
        self.path = path
        self.content = {"version": version, "machine": machine_name, "rows": {}}
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if all(found[key] == self.content[key] for key in ("version", "machine")):
                self.content["rows"] = dict(found["rows"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # Not there yet, or nothing that can be used.

    @property
    def rows(self):
        return self.content["rows"]

    def add(self, rows):
        when = time.strftime("%Y-%m-%d %H:%M")
        for name, row in rows.items():
            self.rows[name] = {**row, "when": when}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")


def patterns_to_run(wanted, known, only):
    """What to run Ray with so that `wanted` rows are known: each pattern of `only` that has a row
    which is not, or everything ("") when there is no pattern."""
    missing = [name for name in wanted if name not in known]
    return [pattern for pattern in only or [""] if any(pattern in name for name in missing)]


def measure(build_dir, wanted, only, again):
    """The cached figures of Ray, after measuring what is missing among the `wanted` rows."""
    environment = Environment(build_dir / "ray-venv")
    print("Ray: installing it, unless it is there", file=sys.stderr)
    cache = Cache(build_dir / "ray-results.json", environment.install(), machine())
    for pattern in patterns_to_run(wanted, {} if again else cache.rows, only):
        print(f"Ray {cache.content['version']}: rows with '{pattern}'" if pattern else
              f"Ray {cache.content['version']}: all rows, some ten minutes", file=sys.stderr)
        rows, complete = environment.run(pattern, build_dir / "ray-errors.log")
        if complete:  # So that a row which this version of Ray does not have is not tried again.
            rows = {**{name: {"status": "not in this Ray"} for name in wanted if pattern in name},
                    **rows}
        cache.add(rows)
    if not any("mean" in cache.rows.get(name, {}) for name in wanted):
        raise Unavailable("its microbenchmark printed no row; see ray-errors.log")
    return cache.content
