"""Adds up what ctest ran, case by case, and prints `N passed, N failed, N skipped`.

A program of many cases says how many passed in its own output (GoogleTest's and pytest's last lines); one that does not is one case.
"""

import os
import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree

GTEST = {"passed": re.compile(r"^\[  PASSED  \] (\d+) tests?\.", re.M), "failed": re.compile(r"^ *(\d+) FAILED TESTS?", re.M),
         "skipped": re.compile(r"^\[  SKIPPED \] (\d+) tests?,", re.M)}
PYTEST = re.compile(r"^(?:=+ )?((?:\d+ [a-z]+(?:, )?)+) in [\d.]+s", re.M)


def count_output(text):
    """Cases (passed, failed, skipped) that a program's output tells of, or None."""
    if GTEST["passed"].search(text):
        return tuple(sum(int(n) for n in GTEST[kind].findall(text)) for kind in ("passed", "failed", "skipped"))
    summaries = PYTEST.findall(text)
    if not summaries:
        return None
    words = {word: int(count) for count, word in re.findall(r"(\d+) ([a-z]+)", summaries[-1])}
    passed = words.get("passed", 0) + words.get("xfailed", 0)
    failed = words.get("failed", 0) + words.get("errors", 0) + words.get("error", 0) + words.get("xpassed", 0)
    return passed, failed, words.get("skipped", 0)


def count_test(case):
    """One ctest entry: its own cases, and never fewer failures than ctest saw."""
    status = case.get("status")
    output = case.findtext("system-out") or ""
    passed, failed, skipped = count_output(output) or (0, 0, 0)
    if status == "run":  # ctest's word for passed
        return (passed or int(not skipped), failed, skipped)
    if status == "disabled":
        return passed, failed, max(skipped, 1)
    return passed, max(failed, 1), skipped  # failed, or could not be run: its program is missing


def main(folder):
    total = [0, 0, 0]
    lines = []
    for file in sorted(pathlib.Path(folder).glob("*.xml")):
        for case in ElementTree.parse(file).getroot().iter("testcase"):
            counts = count_test(case)
            total = [a + b for a, b in zip(total, counts)]
            if counts[1]:
                lines.append(f"FAILED  {file.stem}: {case.get('name')}")
            if counts[2]:
                reasons = re.findall(r"(?:SKIPPED|Skipped)[^\n]*", case.findtext("system-out") or "")
                lines.append(f"SKIPPED {file.stem}: {case.get('name')} {'; '.join(reasons[:3])}")
    print()
    print("\n".join(lines))
    passed, failed, skipped = total
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return int(failed > 0 or passed == 0 or (os.environ.get("CI") == "true" and skipped > 0))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
