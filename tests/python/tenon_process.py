"""A Tenon server and worker on this machine, and a Python client made from the published protos."""

import contextlib
import importlib
import json
import os
import pathlib
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import grpc

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = pathlib.Path(os.environ.get("TENON_BUILD_BIN", ROOT / "build/release/bin"))


def stubs():
    """Compiles proto/tenon/v1 and returns a function that gives a generated module by name."""
    import google.rpc  # noqa: F401  from googleapis-common-protos
    from grpc_tools import protoc

    out = tempfile.mkdtemp(prefix="tenon-stubs-")
    include = pathlib.Path(list(google.rpc.__path__)[0]).parent.parent
    well_known = pathlib.Path(protoc.__file__).parent / "_proto"
    files = [str(path.relative_to(ROOT / "proto")) for path in sorted((ROOT / "proto/tenon/v1").glob("*.proto"))]
    code = protoc.main(["protoc", f"-I{ROOT / 'proto'}", f"-I{include}", f"-I{well_known}", f"--python_out={out}",
                        f"--grpc_python_out={out}", *files])
    if code != 0:
        raise RuntimeError("protoc failed")
    sys.path.insert(0, out)
    return lambda name: importlib.import_module(f"tenon.v1.{name}")


class Process:
    """A process of ours that can be killed and started again with the same flags."""

    def __init__(self, command, log, ports_file):
        self.command, self.log, self.ports_file, self.process = [str(part) for part in command], log, ports_file, None

    def start(self):
        """Starts it and returns the ports it wrote once it was ready."""
        self.ports_file.unlink(missing_ok=True)
        self.process = subprocess.Popen([*self.command, "--ports-file", str(self.ports_file)], stdout=self.log, stderr=self.log)
        return wait_for(self.ports_file, self.process)

    def kill(self):
        """SIGKILL: no goodbye."""
        self.process.kill()
        self.process.wait()

    def stop(self, seconds=30):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()


def free_port():
    """Below those that the system gives to clients: nobody takes it while a server that had it is down."""
    while True:
        port = random.randrange(15000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class Cluster:
    """A server and a worker on free ports of this machine, with all they write below one folder."""

    def __init__(self, folder, worker_flags=(), server_flags=()):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = open(self.folder / "log", "a")
        self.ports = {name: free_port() for name in ("grpc", "workers", "metrics")}
        self.server_flags, self.worker_flags = list(server_flags), list(worker_flags)
        self.server = self.worker = None

    def start_server(self):
        """Starts the server, on the ports it had before, if any."""
        command = [BIN / "tenon-server", "--data", self.folder / "server", *self.server_flags]
        for flag, port in (("--listen", "grpc"), ("--workers-listen", "workers"), ("--metrics-listen", "metrics")):
            command += [flag, f"127.0.0.1:{self.ports[port]}"]
        self.server = Process(command, self.log, self.folder / "ports.json")
        self.ports.update(self.server.start())

    def start_worker(self):
        command = [BIN / "tenon-worker", "--server", f"127.0.0.1:{self.ports['workers']}", "--cache", self.folder / "cache",
                   "--metrics-listen", "127.0.0.1:0", *self.worker_flags]
        self.worker = Process(command, self.log, self.folder / "worker-ports.json")
        self.ports["worker_metrics"] = self.worker.start()["metrics"]

    def wait_for_worker(self):
        """Returns once a worker can answer: after a start, or after the server came back."""
        wait_until(lambda: '"WORKER_STATE_READY"' in self.cli("workers", "list", "--output", "json"))

    def cli(self, *args):
        return cli(self.ports, *args)

    def run(self, *args):
        """The finished CLI process, whatever its exit code."""
        return run(self.ports, *args)

    def __enter__(self):
        self.start_server()
        self.start_worker()
        return self

    def __exit__(self, *unused):
        for process in (self.worker, self.server):
            if process is not None:
                process.stop()
        self.log.close()


@contextlib.contextmanager
def tenon(folder, *, worker_flags=(), server_flags=()):
    """Runs a cluster and yields its ports: `grpc`, `workers`, `metrics`, `worker_metrics`."""
    with Cluster(folder, worker_flags, server_flags) as cluster:
        yield cluster.ports


def wait_for(file, process, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} ended with {process.returncode}")
        try:
            return json.loads(file.read_text())
        except (OSError, ValueError):
            time.sleep(0.05)
    raise RuntimeError(f"{file} was not written in {seconds} s")


def wait_until(condition, seconds=60):
    """Returns once `condition()` holds; fails when it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not so after {seconds} s"
        time.sleep(0.05)


def run(ports, *args):
    """Runs the tenon CLI against the server; the finished process."""
    return subprocess.run([BIN / "tenon", "--server", f"127.0.0.1:{ports['grpc']}", *map(str, args)], capture_output=True, text=True)


def cli(ports, *args):
    """Standard output of a CLI command that succeeds."""
    done = run(ports, *args)
    if done.returncode != 0:
        raise RuntimeError(f"tenon {' '.join(map(str, args))}: {done.stderr}")
    return done.stdout


def channel(ports):
    limit = [("grpc.max_send_message_length", 64 << 20), ("grpc.max_receive_message_length", 64 << 20)]
    return grpc.insecure_channel(f"127.0.0.1:{ports['grpc']}", options=limit)


def metric(port, name, **labels):
    """Sum of a metric's samples on a live metrics page."""
    total = 0.0
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        for line in page.read().decode().splitlines():
            head, _, value = line.rpartition(" ")
            if head.split("{")[0] == name and all(f'{key}="{text}"' in head for key, text in labels.items()):
                total += float(value)
    return total
