"""The installer: says what to do where it cannot work, asks nothing, and lists every package once."""

import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def packages(path):
    return [line.split("#")[0].strip() for line in (ROOT / path).read_text().splitlines() if line.split("#")[0].strip()]


@pytest.mark.parametrize("path", ["deploy/packages.txt", "tests/packages.txt"])
def test_packages_are_listed_once_in_order(path):
    listed = packages(path)
    assert len(set(listed)) == len(listed)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", name) for name in listed)


def test_the_tests_add_only_what_the_product_does_not_need():
    assert not set(packages("deploy/packages.txt")) & set(packages("tests/packages.txt"))


def run_installer_on(tmp_path, os_release):
    """A copy of the installer that reads another system's name; nothing of this machine is touched."""
    (tmp_path / "deploy").mkdir()
    for name in ("install.sh", "lib.sh", "packages.txt"):
        shutil.copy(ROOT / "deploy" / name, tmp_path / "deploy" / name)
    release = tmp_path / "os-release"
    release.write_text(os_release)
    script = tmp_path / "deploy/install.sh"
    script.write_text(script.read_text().replace("/etc/os-release", str(release)))
    return subprocess.run(["bash", script], capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=tmp_path)


@pytest.mark.parametrize("os_release", ['ID=ubuntu\nVERSION_ID="24.04"\nPRETTY_NAME="Ubuntu 24.04"\n', "ID=debian\nVERSION_ID=11\n", ""])
def test_another_system_is_told_what_to_do(tmp_path, os_release):
    done = run_installer_on(tmp_path, os_release)
    assert done.returncode == 2
    assert "Debian 12" in done.stderr and "Nothing was installed" in done.stderr and "docker build" in done.stderr
    assert not (tmp_path / "build").exists()


def test_no_registry_is_named():
    for path in ("deploy/install.sh", "deploy/lib.sh", "deploy/quickstart.sh", "deploy/sentencepiece.sh", "tests/run.sh", ".ci/run"):
        assert not re.search(r"--index-url|--extra-index|--registry|https?://(?!127\.0\.0\.1)", (ROOT / path).read_text()), path


def test_sentencepiece_is_built_once_from_a_pinned_source(tmp_path):
    text = (ROOT / "deploy/sentencepiece.sh").read_text()
    version = re.search(r"^version=(\d+\.\d+\.\d+)$", text, re.M).group(1)
    assert re.search(r"^sha256=[0-9a-f]{64}$", text, re.M) and "--require-hashes" in text and "--no-binary" in text
    # Debian's has another protobuf inside, as has the one that the source would build by default.
    assert "-DSPM_PROTOBUF_PROVIDER=package" in text
    assert not [name for name in packages("deploy/packages.txt") if "sentencepiece" in name]
    # Where it is already, nothing is fetched: there is not even a Python here.
    (tmp_path / "deploy").mkdir()
    for name in ("sentencepiece.sh", "lib.sh"):
        shutil.copy(ROOT / "deploy" / name, tmp_path / "deploy" / name)
    (tmp_path / "build/sentencepiece").mkdir(parents=True)
    (tmp_path / "build/sentencepiece/version").write_text(version + "\n")
    command = ["bash", tmp_path / "deploy/sentencepiece.sh"]
    assert subprocess.run(command, stdin=subprocess.DEVNULL).returncode == 0
    (tmp_path / "build/sentencepiece/version").write_text("0.1.97\n")
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode != 0 and version in done.stderr
    assert not (tmp_path / "build/sentencepiece/version").exists()


def test_the_quickstart_stops_what_it_started():
    text = (ROOT / "deploy/quickstart.sh").read_text()
    assert "trap stop EXIT" in text and "127.0.0.1:0" in text


def test_the_examples_are_balanced_and_apart():
    import collections
    import json

    seen, rows = {}, {}
    for part in ("train", "validation", "test"):
        rows[part] = [json.loads(line) for line in (ROOT / f"examples/tickets/{part}.jsonl").read_text().splitlines()]
        for row in rows[part]:
            assert row["text"] not in seen, f"{row['text']!r} is in {part} and {seen[row['text']]}"
            seen[row["text"]] = part
        counts = collections.Counter(row["label"] for row in rows[part])
        assert len(counts) == 5 and len(set(counts.values())) == 1
    assert len(rows["train"]) >= 240 and len(rows["validation"]) >= 60 and len(rows["test"]) >= 60


def test_judgements_name_queries_and_documents_that_exist():
    import json

    folder = ROOT / "examples/documents"
    documents = {json.loads(line)["id"] for line in (folder / "documents.jsonl").read_text().splitlines()}
    queries = {json.loads(line)["id"] for line in (folder / "queries.jsonl").read_text().splitlines()}
    judged = [line.split("\t") for line in (folder / "qrels.tsv").read_text().splitlines()[1:]]
    assert len(documents) >= 40 and {query for query, _, _ in judged} == queries
    assert all(document in documents and score in "12" for _, document, score in judged)
