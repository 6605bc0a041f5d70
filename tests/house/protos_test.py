"""The contracts pass buf's linter, with the exceptions that proto/buf.yaml names, and compile with what they import."""

import pathlib
import shutil
import subprocess

import pytest
import tree

BUF = "@bufbuild/buf@1.75.0"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """The contracts, and google/rpc's beside them: buf resolves imports in a workspace, without a registry."""
    import google.rpc

    folder = tmp_path_factory.mktemp("protos")
    shutil.copytree(tree.ROOT / "proto", folder / "proto", ignore=shutil.ignore_patterns("CMakeLists.txt", "buf.yaml"))
    source = pathlib.Path(list(google.rpc.__path__)[0])
    (folder / "deps/google/rpc").mkdir(parents=True)
    for name in ("status.proto", "error_details.proto"):
        shutil.copy(source / name, folder / "deps/google/rpc" / name)
    config = tree.text("proto/buf.yaml").replace("  - path: .", "  - path: proto\n  - path: deps\n    lint:\n      ignore:\n        - deps")
    config = config.replace("      - tenon/", "      - proto/tenon/")  # paths are those of the workspace
    (folder / "buf.yaml").write_text(config)
    return folder


@pytest.fixture(scope="module")
def buf(workspace):
    npx = shutil.which("npx")
    if npx is None:
        pytest.skip("npm is not installed")

    def run(*args):
        return subprocess.run([npx, "--yes", BUF, *args], cwd=workspace, capture_output=True, text=True, timeout=240, stdin=subprocess.DEVNULL)

    if run("--version").returncode != 0:
        pytest.skip("buf could not be fetched")
    return run


def test_buf_lint(buf):
    done = buf("lint")
    assert done.returncode == 0, done.stdout + done.stderr


def test_buf_finds_what_is_wrong(buf, workspace):
    """The linter is really at work: a broken contract does not pass."""
    bad = workspace / "proto/tenon/v1/bad.proto"
    bad.write_text('syntax = "proto3";\npackage tenon.v1;\nmessage lower { string CamelCase = 1; }\n')
    try:
        done = buf("lint")
        assert done.returncode != 0
        assert "CamelCase" in done.stdout
    finally:
        bad.unlink()


def test_every_message_field_and_method_that_is_published_has_a_comment_above_its_message():
    for path in tree.files(".proto", under="proto/tenon/v1/"):
        lines = tree.text(path).splitlines()
        for number, line in enumerate(lines):
            if line.startswith(("message ", "service ", "enum ")):
                assert lines[number - 1].startswith("//"), f"{path}:{number + 1}: {line} has no comment"
