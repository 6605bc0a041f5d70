"""`tenon up`: a server and a worker that start, serve, are looked after and stop together."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import urllib.request

import pytest
from conftest import Shell
from tenon_process import BIN, wait_for, wait_until

FREE = [part for name in ("--listen", "--workers-listen", "--metrics-listen", "--worker-metrics-listen") for part in (name, "127.0.0.1:0")]


class Up:
    def __init__(self, folder, *flags, data="data"):
        self.ports_file = folder / "ports.json"
        self.log = open(folder / "up.log", "w+")
        self.process = subprocess.Popen([BIN / "tenon", "up", "--data", folder / data, "--ports-file", self.ports_file, *FREE, *map(str, flags)],
                                        stdout=self.log, stderr=self.log)

    def ready(self):
        self.ports = wait_for(self.ports_file, self.process, 120)
        return Shell(f"127.0.0.1:{self.ports['grpc']}")

    def children(self):
        """Process ids by program."""
        found = {}
        for status in pathlib.Path("/proc").glob("[0-9]*/status"):
            try:
                if f"PPid:\t{self.process.pid}\n" in status.read_text():
                    found[pathlib.Path(os.readlink(status.parent / "exe")).name] = int(status.parent.name)
            except OSError:
                continue
        return found

    def stop(self, number=signal.SIGINT):
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture
def up(tmp_path, request):
    started = []

    def start(*flags, **options):
        started.append(Up(tmp_path, *flags, **options))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.terminate()
            one.process.wait(60)
        one.log.close()


def gone(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] == "Z"
    except OSError:
        return True


def test_serves_and_stops_on_ctrl_c(up, tiny_base):
    one = up("--base", f"tiny={tiny_base}")
    tenon = one.ready()
    assert set(one.ports) == {"grpc", "workers", "metrics", "worker_metrics"}
    # Ready means that the first call is answered.
    assert len(tenon.json("embed", "--base", "tiny", "hello")["embedding"]) == 64
    children = one.children()
    assert set(children) == {"tenon-server", "tenon-worker"}
    assert one.stop(signal.SIGINT) == 0
    assert all(gone(pid) for pid in children.values())
    assert not one.ports_file.exists()


def test_starts_again_on_the_same_data(up, tiny_base):
    one = up("--base", f"tiny={tiny_base}")
    digest = one.ready().json("bases", "list")["bases"][0]["digest"]
    assert one.stop(signal.SIGTERM) == 0
    again = up("--base", f"tiny={tiny_base}").ready()
    assert [base["digest"] for base in again.json("bases", "list")["bases"]] == [digest]


def test_a_second_leaves_the_firsts_ports_file_alone(up):
    one = up()
    one.ready()
    before = one.ports_file.read_text()
    two = up(data="other")
    assert two.process.wait(60) != 0
    two.log.seek(0)
    assert "Another `tenon up` writes" in two.log.read()
    assert one.ports_file.read_text() == before
    assert one.stop() == 0
    assert not list(one.ports_file.parent.glob("ports.json*"))


def test_a_second_on_the_same_data_touches_nothing_of_the_first(up, tmp_path):
    one = up()
    one.ready()
    files = [tmp_path / "data" / name for name in ("log/server.err", "log/worker.err", "run/server.json", "run/worker.json")]
    before = [(file, file.stat().st_ino, file.read_text()) for file in files]
    two = subprocess.run([BIN / "tenon", "up", "--data", tmp_path / "data", *FREE, "--output", "json"], capture_output=True, text=True, timeout=60)
    error = json.loads(two.stderr.splitlines()[-1])["error"]
    assert (two.returncode, error["reason"], error["field"]) == (4, "IN_USE", "--data")
    assert [(file, file.stat().st_ino, file.read_text()) for file in files] == before
    assert one.stop() == 0
    assert not (tmp_path / "data/run/up.lock").exists()


def test_bases_that_only_the_root_folder_holds_are_copied(up, tiny_base, tmp_path):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        shutil.copytree(tiny_base, f"{elsewhere}/other")
        config = pathlib.Path(elsewhere, "other/config.json")
        config.write_text(config.read_text() + "\n")
        one = up("--base", f"tiny={tiny_base}", "--base", f"other={elsewhere}/other")
        tenon = one.ready()
        server = one.children()["tenon-server"]
        assert b"--bases-root" not in pathlib.Path(f"/proc/{server}/cmdline").read_bytes()
    # What is copied needs its folder no more.
    assert len(tenon.json("embed", "--base", "other", "hello")["embedding"]) == 64
    assert len(tenon.json("bases", "list")["bases"]) == 2


def test_logs_are_files_of_their_own(up):
    one = up("--server-arg=--log-file-mb=1", "--worker-arg=--log-file-mb=1")
    one.ready()
    logs = one.ports_file.parent / "data/log"
    assert '"message"' in (logs / "server.log").read_text()
    assert "worker" in (logs / "worker.log").read_text()
    assert (logs / "server.err").read_text() == ""


def test_a_killed_worker_is_started_again(up, tiny_base):
    one = up("--base", f"tiny={tiny_base}")
    tenon = one.ready()
    first = one.children()["tenon-worker"]
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: one.children().get("tenon-worker") not in (None, first))
    wait_until(lambda: tenon.run("embed", "--base", "tiny", "hello").returncode == 0)
    # The new worker's metrics are where the ports file says.
    def scraped():
        try:
            port = json.loads(one.ports_file.read_text())["worker_metrics"]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
                return b"tenon_worker_connected 1" in page.read()
        except OSError:
            return False
    wait_until(scraped)


def test_children_do_not_outlive_a_killed_parent(up):
    one = up()
    one.ready()
    children = one.children()
    assert len(children) == 2
    one.process.kill()
    one.process.wait()
    wait_until(lambda: all(gone(pid) for pid in children.values()))


def test_a_dead_server_ends_it_with_the_servers_last_words(up):
    one = up()
    one.ready()
    children = one.children()
    os.kill(children["tenon-server"], signal.SIGKILL)
    assert one.process.wait(60) == 4
    assert gone(children["tenon-worker"])
    one.log.seek(0)
    assert "The server ended (signal 9)" in one.log.read()


def test_ctrl_c_while_it_starts(up, minilm):
    one = up("--base", f"minilm={minilm}")
    wait_until(lambda: one.children())
    assert one.stop(signal.SIGINT) == 0
    assert one.children() == {}


@pytest.mark.parametrize("flags,code,words", [(["--base", "nodir"], 2, "NAME=DIR"), (["--base", "tiny=/nowhere"], 3, "/nowhere"),
                                              (["--base", "Bad Name=."], 2, "ID_INVALID")])
def test_wrong_flags_start_nothing(up, flags, code, words):
    one = up(*flags)
    assert one.process.wait(60) == code
    one.log.seek(0)
    assert words in one.log.read()


def test_a_taken_port_is_named(up, tmp_path):
    one = up()
    one.ready()
    port = one.ports["grpc"]
    done = subprocess.run([BIN / "tenon", "up", "--data", tmp_path / "other", "--listen", f"127.0.0.1:{port}", *FREE[2:]], capture_output=True, text=True,
                          timeout=120)
    assert done.returncode != 0 and str(port) in done.stderr


def test_json_tells_the_ports(tmp_path):
    process = subprocess.Popen([BIN / "tenon", "up", "--data", tmp_path / "data", *FREE, "--output", "json"], stdout=subprocess.PIPE, text=True)
    try:
        assert json.loads(process.stdout.readline())["grpc"] > 0
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
