"""Every flag that documents, images, scripts and examples name is one that a program takes."""

import re

import tree

FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]+")
TAKEN = {name for path in tree.files(".cc", under="client/cli/") + ["server/options.cc", "worker/options.cc"]
         for literal in re.findall(r'"(-[^" ]*)', tree.text(path)) for name in FLAG.findall(literal.replace(",", " "))}
# Of other programs, and CLI11's own.
OTHERS = {"--help", "--from", "--interval", "--timeout", "--start-period", "--no-install-recommends", "--sanitizers", "--preset", "--build",
          "--target", "--no-deps", "--build-arg", "--gpus", "--parents"}


def test_the_programs_flags_are_found():
    assert {"--bases-root", "--top-k", "--device", "--lease-ms"} <= TAKEN


def test_flags_that_are_written_down_exist():
    files = tree.files(".md", under="docs/") + ["README.md"] + tree.files(under="docker/") + tree.files(under="examples/jobs/")
    wrong = [f"{path}: {flag}" for path in files for flag in sorted(set(FLAG.findall(tree.text(path)))) if flag not in TAKEN | OTHERS]
    assert not wrong


def test_flags_of_the_quickstart_exist():
    text = "\n".join(line for line in tree.text("deploy/quickstart.sh").splitlines() if not line.startswith("#"))
    assert [flag for flag in sorted(set(FLAG.findall(text))) if flag not in TAKEN | OTHERS] == []
