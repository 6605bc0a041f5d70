"""A full disk: calls that store are refused with DISK_FULL, what was stored stays, jobs wait, and all goes on once there is room."""

import os
import shutil
import subprocess

import pytest
import tiny
from conftest import Shell
from tenon_process import Cluster, metric, wait_until

# Writes fail with ENOSPC while a file exists: the real system calls of the real program, without a file system of our own.
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static int is_full(int fd) {
  struct stat status;
  if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) return 0;  /* sockets, pipes and terminals have no disk */
  const char *flag = getenv("TENON_TEST_DISK_FULL");
  return flag != NULL && access(flag, F_OK) == 0;
}
#define FAIL_IF_FULL(fd) do { if (is_full(fd)) { errno = ENOSPC; return -1; } } while (0)

ssize_t write(int fd, const void *data, size_t size) {
  static ssize_t (*real)(int, const void *, size_t);
  if (!real) real = dlsym(RTLD_NEXT, "write");
  FAIL_IF_FULL(fd);
  return real(fd, data, size);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
  static ssize_t (*real)(int, const void *, size_t, off64_t);
  if (!real) real = dlsym(RTLD_NEXT, "pwrite64");
  FAIL_IF_FULL(fd);
  return real(fd, data, size, at);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return pwrite64(fd, data, size, at); }
"""


@pytest.fixture
def full(tmp_path, monkeypatch):
    """A switch: the file whose being there makes the disk full, for processes that are started from now on."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    source = tmp_path / "shim.c"
    source.write_text(SHIM)
    library = tmp_path / "shim.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    flag = tmp_path / "disk-is-full"
    monkeypatch.setenv("TENON_TEST_DISK_FULL", str(flag))
    return library, flag


def start(folder, library):
    """A cluster whose server alone has the disk that fills."""
    cluster = Cluster(folder)
    os.environ["LD_PRELOAD"] = str(library)
    try:
        cluster.start_server()
    finally:
        del os.environ["LD_PRELOAD"]
    cluster.start_worker()
    return cluster


def test_a_full_disk_refuses_and_recovers(full, tmp_path, tiny_base):
    library, flag = full
    rows = tiny.write_jsonl(tmp_path / "rows.jsonl", tiny.toy_rows(50))
    more = tiny.write_jsonl(tmp_path / "more.jsonl", tiny.toy_rows(5000, seed=3))
    cluster = start(tmp_path / "cluster", library)
    try:
        tenon = Shell(f"127.0.0.1:{cluster.ports['grpc']}")
        tenon.text("bases", "add", "tiny", tiny_base)
        tenon.text("datasets", "add", "before", rows)
        tenon.text("collections", "create", "docs", "--base", "tiny")

        flag.touch()
        for command in (("datasets", "add", "during", more), ("collections", "create", "during", "--base", "tiny")):
            code, error = tenon.error(*command)
            assert (code, error["reason"]) == (7, "DISK_FULL"), error
        # Reading and answering need no room.
        assert [d["name"] for d in tenon.json("datasets", "list")["datasets"]] == ["datasets/before"]
        assert len(tenon.json("embed", "--base", "tiny", "the parcel")["embedding"]) == 64
        assert tenon.json("status")["writable"] is False

        flag.unlink()
        tenon.text("datasets", "add", "after", more)
        assert tenon.json("status")["writable"] is True
        assert {d["name"] for d in tenon.json("datasets", "list")["datasets"]} == {"datasets/before", "datasets/after"}
    finally:
        flag.unlink(missing_ok=True)
        cluster.__exit__()


def test_a_running_job_outlasts_a_full_disk(full, tmp_path, tiny_base):
    library, flag = full
    rows = tiny.write_jsonl(tmp_path / "rows.jsonl", tiny.toy_rows(200))
    cluster = start(tmp_path / "cluster", library)
    try:
        tenon = Shell(f"127.0.0.1:{cluster.ports['grpc']}")
        tenon.text("bases", "add", "tiny", tiny_base)
        train = ("jobs", "finetune", "--base", "tiny", "--task", "sequence_classification", "--method", "lora", "--train", rows)
        job = tenon.json(*train, "--adapter", "a", "--set", "max_steps=400", "--set", "save_steps=20")["name"]

        def handled(method, code):
            return metric(cluster.ports["metrics"], "grpc_server_handled_total", grpc_method=method, grpc_code=code)

        wait_until(lambda: handled("PublishBlob", "OK") > 0)
        flag.touch()
        # A checkpoint that was refused was sent again, and the job is neither failed nor forgotten.
        wait_until(lambda: handled("PublishBlob", "ResourceExhausted") + handled("ReportJob", "ResourceExhausted") >= 3)
        assert tenon.json("jobs", "get", job)["state"] == "JOB_STATE_RUNNING"
        flag.unlink()
        wait_until(lambda: tenon.json("jobs", "get", job)["state"] == "JOB_STATE_SUCCEEDED", 180)
        assert tenon.json("jobs", "get", job)["term"] == "1"
        # Its worker is free.
        tenon.text(*train, "--adapter", "b", "--set", "max_steps=2", "--wait")
    finally:
        flag.unlink(missing_ok=True)
        cluster.__exit__()
