#!/usr/bin/env python3
"""Tests of what reads Ray's output and prints the tables; needs neither Ray nor a build."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import python_ray  # noqa: E402
import report  # noqa: E402

PRINTED = """Tip: set TESTS_TO_RUN='pattern' to run a subset of benchmarks
single client get calls (Plasma Store) per second 11816.38 +- 399.3
some warning: 12 per second
n:n actor calls with arg async per second 1e-05 +- 0.0
client: get calls per second nan +- nan
"""


class Parsing(unittest.TestCase):
    def test_rows_are_found_among_other_lines(self):
        rows = python_ray.parse(PRINTED)
        self.assertEqual(rows["single client get calls (Plasma Store)"],
                         {"mean": 11816.38, "sd": 399.3})
        self.assertEqual(rows["n:n actor calls with arg async"]["mean"], 1e-05)
        self.assertEqual(len(rows), 3)

    def test_what_stopped_pip_is_told_apart(self):
        self.assertIn("reach", python_ray.why_pip_failed(
            "WARNING: Retrying ... NewConnectionError ...\nERROR: No matching distribution found"))
        self.assertIn("fits Python", python_ray.why_pip_failed(
            "ERROR: No matching distribution found for ray"))
        self.assertEqual(python_ray.why_pip_failed("a\nERROR: disk full\n"),
                         "pip failed: ERROR: disk full")

    def test_no_virtual_environment_is_a_reason_and_no_crash(self):
        with self.assertRaises(python_ray.Unavailable):
            python_ray.call(["/nowhere/python"], 5, str)
        with self.assertRaisesRegex(python_ray.Unavailable, "why: out"):
            python_ray.call(["sh", "-c", "echo out; exit 3"], 5, lambda out: f"why: {out}")


class Caching(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = pathlib.Path(self.folder.name) / "cache.json"

    def test_rows_come_back_for_the_same_version_and_machine_only(self):
        python_ray.Cache(self.path, "2.0", "this").add({"a": {"mean": 1.0, "sd": 0.0}})
        self.assertEqual(python_ray.Cache(self.path, "2.0", "this").rows["a"]["mean"], 1.0)
        self.assertEqual(python_ray.Cache(self.path, "2.1", "this").rows, {})
        self.assertEqual(python_ray.Cache(self.path, "2.0", "other").rows, {})

    def test_a_broken_file_is_an_empty_cache(self):
        for text in ("", "{", "[]", '{"version": "2.0", "machine": "this", "rows": 3}'):
            self.path.write_text(text, encoding="utf-8")
            self.assertEqual(python_ray.Cache(self.path, "2.0", "this").rows, {})

    def test_only_what_is_missing_is_run(self):
        wanted = ["tasks sync", "tasks async", "put calls"]
        self.assertEqual(python_ray.patterns_to_run(wanted, {}, []), [""])
        self.assertEqual(python_ray.patterns_to_run(wanted, dict.fromkeys(wanted), []), [])
        self.assertEqual(python_ray.patterns_to_run(wanted, {"put calls": 1}, ["put", "tasks"]),
                         ["tasks"])


THREADS = {"isolation": "threads", "quick": False, "rows": [
    {"name": "fast", "mean": 5000.0, "sd": 1.0, "rounds": []},
    {"name": "later", "status": "not in this version", "why": "needs placement groups"},
    {"name": "broken", "status": "failed", "why": "no"}]}
RAY = {"version": "2.0", "machine": "this", "rows": {
    "fast": {"mean": 50.0, "sd": 1.0, "when": "2026-01-01 10:00"},
    "later": {"mean": 7.0, "sd": 1.0, "when": "2026-01-01 10:00"}}}


class Tables(unittest.TestCase):
    def test_ratios_and_rows_that_are_not_there(self):
        lines = report.table(THREADS, {"refused": "not yet"}, RAY)
        self.assertEqual(lines[2].split(), ["fast", "5,000", "-", "50", "100x", "-"])
        self.assertIn("not in this version", lines[3])
        self.assertEqual(lines[3].split()[-3:], ["7", "-", "-"])
        self.assertEqual(len(lines), 5)

    def test_notes_say_what_is_behind_the_table(self):
        text = "\n".join(report.notes(THREADS, {"refused": "not yet"}, RAY, None))
        self.assertIn("processes: refused: not yet", text)
        self.assertIn("threads: broken: failed: no", text)
        self.assertIn("Ray 2.0, Python at both ends, measured 2026-01-01 10:00 on this", text)
        self.assertIn("skipped: no pip", "\n".join(report.notes(None, None, None, "no pip")))

    def test_other_load_is_told_when_it_matters(self):
        for load, told in ((0.04, False), (0.31, True)):
            text = "\n".join(report.notes({**THREADS, "other_load": load}, None, None, None))
            self.assertEqual("disturbed: others took 31% of the machine" in text, told)

    def test_files_are_enough(self):
        with tempfile.TemporaryDirectory() as folder:
            paths = [pathlib.Path(folder) / name for name in ("threads.json", "ray.json")]
            for path, content in zip(paths, (THREADS, RAY)):
                path.write_text(json.dumps(content), encoding="utf-8")
            done = subprocess.run(
                [sys.executable, report.__file__, "--threads", paths[0], "--ray", paths[1]],
                capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("100x", done.stdout)


if __name__ == "__main__":
    unittest.main()
