"""What was acknowledged is there after a restart, and a second server harms nothing."""

import signal
import subprocess

import tiny
from conftest import EXAMPLES, Shell
from tenon_process import BIN, Cluster, metric, wait_until


def test_everything_is_there_after_a_kill(tmp_path, tiny_base):
    rows = tiny.write_jsonl(tmp_path / "rows.jsonl", tiny.toy_rows(90))
    with Cluster(tmp_path / "cluster") as cluster:
        tenon = Shell(f"127.0.0.1:{cluster.ports['grpc']}")
        tenon.text("bases", "add", "tiny", tiny_base)
        job = tenon.json("jobs", "finetune", "--base", "tiny", "--adapter", "a", "--task", "sequence_classification", "--method", "lora",
                         "--train", rows, "--set", "max_steps=5", "--wait")
        tenon.text("collections", "create", "docs", "--base", "tiny")
        tenon.text("documents", "add", "--collection", "docs", "--input", EXAMPLES / "documents/documents.jsonl")
        classify = ("classify", "--adapter", "a", "the parcel was late", "an invoice")
        retrieve = ("retrieve", "--collection", "docs", "--top-k", 5, "password")
        answers = (tenon.lines(*classify), tenon.lines(*retrieve))

        cluster.server.kill()
        cluster.start_server()
        # Listing needs the store alone; answering waits for the worker, which finds the server again by itself.
        assert tenon.json("jobs", "get", job["name"]) == job
        assert [a["name"] for a in tenon.json("adapters", "list")["adapters"]] == ["adapters/a"]
        assert tenon.json("collections", "list")["collections"][0]["documentCount"] == "50"
        cluster.wait_for_worker()
        again = (tenon.lines(*classify), tenon.lines(*retrieve))
        assert again == answers


def second(*flags):
    return subprocess.run([BIN / "tenon-server", *map(str, flags)], capture_output=True, text=True, timeout=60)


def test_a_second_server_is_refused(tmp_path):
    with Cluster(tmp_path / "first") as first:
        tenon = Shell(f"127.0.0.1:{first.ports['grpc']}")
        free = ("--workers-listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0")
        done = second("--data", tmp_path / "second", "--listen", f"127.0.0.1:{first.ports['grpc']}", *free)
        assert done.returncode == 1
        assert str(first.ports["grpc"]) in done.stderr + done.stdout
        done = second("--data", first.folder / "server", "--listen", "127.0.0.1:0", *free)
        assert done.returncode == 1
        assert "server" in done.stderr + done.stdout
        # The first one never noticed.
        assert tenon.json("status")["writable"] is True


def test_sigterm_stops_both_cleanly(tmp_path):
    cluster = Cluster(tmp_path / "stop")
    cluster.start_server()
    cluster.start_worker()
    cluster.worker.stop()
    cluster.server.stop()
    assert (cluster.worker.process.returncode, cluster.server.process.returncode) == (0, 0)
    cluster.log.close()


def test_sigterm_ends_an_import_that_waits_for_a_worker(tmp_path, tiny_base):
    rows = tiny.write_jsonl(tmp_path / "rows.jsonl", tiny.toy_rows(30))
    with Cluster(tmp_path / "cluster", server_flags=["--drain-seconds", "1"]) as cluster:
        tenon = Shell(f"127.0.0.1:{cluster.ports['grpc']}")
        tenon.text("bases", "add", "tiny", tiny_base)
        tenon.text("jobs", "finetune", "--base", "tiny", "--adapter", "a", "--task", "sequence_classification", "--method", "lora",
                   "--train", rows, "--set", "max_steps=2", "--wait")
        tenon.text("adapters", "export", "a", tmp_path / "peft")
        cluster.worker.process.send_signal(signal.SIGSTOP)  # connected, and answers nothing
        try:
            command = [BIN / "tenon", "--server", tenon.address, "adapters", "import", tmp_path / "peft", "--id", "b", "--base", "tiny"]
            waiting = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            wait_until(lambda: metric(cluster.ports["metrics"], "tenon_requests_running") > 0)
            cluster.server.process.terminate()
            # The check of an adapter alone may take two minutes.
            assert cluster.server.process.wait(30) == 0
            assert waiting.wait(30) != 0
        finally:
            cluster.worker.process.send_signal(signal.SIGCONT)
