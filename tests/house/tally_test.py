"""The closing line of tests/run.sh counts what really ran."""

import importlib.util

import tree

spec = importlib.util.spec_from_file_location("tally", tree.ROOT / "tests/tally.py")
tally = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tally)

JUNIT = """<?xml version="1.0"?><testsuite><testcase name="{name}" status="{status}"><system-out>{output}</system-out></testcase></testsuite>"""


def run(tmp_path, capsys, *cases):
    for number, (status, output) in enumerate(cases):
        (tmp_path / f"r{number}.xml").write_text(JUNIT.format(name=f"t{number}", status=status, output=output))
    code = tally.main(tmp_path)
    return code, capsys.readouterr().out.strip().splitlines()[-1]


GTEST_GOOD = "[==========] 5 tests from 2 test suites ran. (1 ms total)\n[  PASSED  ] 5 tests.\n"
GTEST_BAD = "[  PASSED  ] 4 tests.\n[  FAILED  ] 1 test, listed below:\n[  FAILED  ] A.B\n\n 1 FAILED TEST\n"
GTEST_SKIP = "[  PASSED  ] 4 tests.\n[  SKIPPED ] 1 test, listed below:\n[  SKIPPED ] A.B\n"


def test_cases_are_counted(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    assert run(tmp_path, capsys, ("run", GTEST_GOOD), ("run", "7 passed in 2.31s"), ("run", "plain words")) == (0, "13 passed, 0 failed, 0 skipped")


def test_a_failure_fails(tmp_path, capsys):
    assert run(tmp_path, capsys, ("fail", GTEST_BAD), ("fail", "1 failed, 3 passed in 0.10s")) == (1, "7 passed, 2 failed, 0 skipped")


def test_a_crash_is_a_failure(tmp_path, capsys):
    assert run(tmp_path, capsys, ("fail", "[ RUN      ] A.B\n"), ("run", GTEST_GOOD)) == (1, "5 passed, 1 failed, 0 skipped")


def test_a_crash_after_the_summary_is_a_failure(tmp_path, capsys):
    assert run(tmp_path, capsys, ("fail", GTEST_GOOD)) == (1, "5 passed, 1 failed, 0 skipped")


def test_a_skip_is_a_failure_in_ci_alone(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    assert run(tmp_path, capsys, ("run", GTEST_SKIP), ("run", "2 passed, 1 skipped in 1.0s")) == (0, "6 passed, 0 failed, 2 skipped")
    monkeypatch.setenv("CI", "true")
    assert run(tmp_path, capsys)[0] == 1


def test_a_program_that_is_missing_is_a_failure(tmp_path, capsys):
    assert run(tmp_path, capsys, ("notrun", "Unable to find executable"), ("run", GTEST_GOOD)) == (1, "5 passed, 1 failed, 0 skipped")


def test_a_crash_behind_a_skip_is_a_failure(tmp_path, capsys):
    assert run(tmp_path, capsys, ("fail", "[ RUN      ] A.B\n[  SKIPPED ] A.B (0 ms)\n[ RUN      ] A.C\n")) == (1, "0 passed, 1 failed, 0 skipped")


def test_nothing_run_is_not_a_success(tmp_path, capsys):
    assert run(tmp_path, capsys) == (1, "0 passed, 0 failed, 0 skipped")
