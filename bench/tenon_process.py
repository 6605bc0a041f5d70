"""A Tenon server and worker on this machine, and a Python client made from the published protos."""

import contextlib
import importlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import grpc

ROOT = pathlib.Path(__file__).resolve().parent.parent
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


@contextlib.contextmanager
def tenon(data, *, worker_flags=(), server_flags=(), log=None):
    """Runs a server and a worker on free ports; yields the ports, `{"grpc": ..., "workers": ..., "metrics": ..., "worker_metrics": ...}`."""
    data = pathlib.Path(data)
    data.mkdir(parents=True, exist_ok=True)
    log = log or open(data / "log", "a")
    ports_file = data / "ports.json"
    ports_file.unlink(missing_ok=True)
    server = subprocess.Popen([BIN / "tenon-server", "--data", data / "server", "--listen", "127.0.0.1:0", "--workers-listen", "127.0.0.1:0",
                               "--metrics-listen", "127.0.0.1:0", "--ports-file", ports_file, *server_flags],
                              stdout=log, stderr=log)
    worker = None
    try:
        ports = wait_for(ports_file, server)
        worker_ports = data / "worker-ports.json"
        worker_ports.unlink(missing_ok=True)
        worker = subprocess.Popen([BIN / "tenon-worker", "--server", f"127.0.0.1:{ports['workers']}", "--cache", data / "cache",
                                   "--metrics-listen", "127.0.0.1:0", "--ports-file", worker_ports, *worker_flags],
                                  stdout=log, stderr=log)
        ports["worker_metrics"] = wait_for(worker_ports, worker)["metrics"]
        ports["worker_pid"], ports["server_pid"] = worker.pid, server.pid
        yield ports
    finally:
        for process in (worker, server):
            if process is not None:
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()


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


def cli(ports, *args):
    """Runs the tenon CLI against the server and returns its standard output."""
    done = subprocess.run([BIN / "tenon", "--server", f"127.0.0.1:{ports['grpc']}", *map(str, args)], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"tenon {' '.join(map(str, args))}: {done.stderr}")
    return done.stdout


def channel(ports):
    limit = [("grpc.max_send_message_length", 64 << 20), ("grpc.max_receive_message_length", 64 << 20)]
    return grpc.insecure_channel(f"127.0.0.1:{ports['grpc']}", options=limit)
