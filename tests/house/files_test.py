"""How files look: length, format, and words that have no place in them."""

import concurrent.futures
import os
import re
import shutil
import subprocess

import pytest
import tree

CODE = (".h", ".cc", ".cu", ".cuh", ".py", ".sh", ".proto")
MAX_LINES = 500
# Folders of one machine, told apart from routes and formats by what follows them.
MACHINE_PATH = re.compile(r"(?<![A-Za-z0-9_.}$/*-])/(?:root|work|farm)/|(?<![A-Za-z0-9_.}$/*-])/home/[a-z]")
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX)\b")


def test_no_source_is_longer_than_500_lines():
    long = {path: lines for path in tree.files(*CODE) if (lines := tree.text(path).count("\n")) > MAX_LINES}
    assert not long


def test_no_path_of_one_machine():
    wrong = []
    for path in tree.files():
        if path.startswith("tests/house/"):
            continue
        try:
            lines = tree.text(path).splitlines()
        except UnicodeDecodeError:
            continue
        wrong += [f"{path}:{number}: {line.strip()[:100]}" for number, line in enumerate(lines, 1) if MACHINE_PATH.search(line)]
    assert not wrong


def test_no_unfinished_work():
    wrong = [f"{path}:{number}" for path in tree.files(*CODE) if not path.startswith("tests/house/")
             for number, line in enumerate(tree.text(path).splitlines(), 1) if UNFINISHED.search(line)]
    assert not wrong


def test_no_large_file_is_committed():
    large = [path for path in tree.files() if (tree.ROOT / path).stat().st_size > 1_000_000]
    assert not large


def test_top_level_is_the_house():
    allowed = {"CMakeLists.txt", "CMakePresets.json", "README.md", "LICENSE", "proto", "common", "server", "worker", "client", "deploy", "docker",
               "tests", "bench", "docs", "examples", "cmake"}
    top = {path.split("/")[0] for path in tree.files()}
    assert {name for name in top if not name.startswith(".")} <= allowed


def test_sources_are_formatted():
    program = shutil.which("clang-format")
    if program is None:
        pytest.skip("clang-format is not installed")

    def wrong(path):
        done = subprocess.run([program, "--dry-run", "--Werror", path], cwd=tree.ROOT, capture_output=True)
        return path if done.returncode != 0 else None

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        assert [path for path in pool.map(wrong, tree.files(".h", ".cc")) if path] == []


def test_shell_scripts_are_sound():
    program = shutil.which("shellcheck")
    if program is None:
        pytest.skip("shellcheck is not installed")
    scripts = tree.files(".sh") + [path for path in tree.files(under=".ci/")]
    done = subprocess.run([program, "--severity=warning", "--external-sources", "--shell=bash", *scripts], cwd=tree.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_scripts_can_be_run():
    callable = [".ci/run", "deploy/install.sh", "deploy/quickstart.sh", "deploy/sentencepiece.sh", "tests/run.sh"]
    assert [path for path in callable if not os.access(tree.ROOT / path, os.X_OK)] == []
