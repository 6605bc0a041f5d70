"""What the repository holds: tracked files, and ours that git does not ignore yet."""

import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def files(*suffixes, under=""):
    """Paths relative to the root, by suffix."""
    try:
        listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True,
                                check=True).stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):  # a source archive without git
        listed = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file() and path.relative_to(ROOT).parts[0] != "build"]
    return [path for path in sorted(set(listed))
            if path and path.startswith(under) and (ROOT / path).is_file() and (not suffixes or path.endswith(suffixes))]


def text(path):
    return (ROOT / path).read_text(encoding="utf-8")
