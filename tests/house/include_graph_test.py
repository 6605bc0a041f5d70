"""The arrows of the house. A room includes itself, the rooms named here, and nothing else of ours."""

import re

import pytest
import tree

# room -> rooms it may include (docs/adr/0003-server-app-room.md). The longest matching room counts.
ARROWS = {
    "common/formats": [],
    "common": ["common/formats"],
    "client": ["common", "common/formats"],
    "server/store": ["common", "common/formats"],
    "server/blobs": ["common", "common/formats"],
    "server/jobs": ["server/store", "server/blobs", "common", "common/formats"],
    "server/dispatch": ["server/store", "server/blobs", "common", "common/formats"],
    "server/fleet": ["server/store", "server/blobs", "common", "common/formats"],
    "server/catalog": ["server/store", "server/blobs", "common", "common/formats"],
    "server/retrieval": ["server/store", "server/blobs", "common", "common/formats"],
    "server/access": ["server/store", "server/blobs", "common", "common/formats"],
    "server/app": ["server/jobs", "server/dispatch", "server/fleet", "server/catalog", "server/retrieval", "server/access", "server/store",
                   "server/blobs", "common", "common/formats"],
    "server/api": ["server/app", "server/jobs", "server/dispatch", "server/fleet", "server/catalog", "server/retrieval", "server/access",
                   "server/store", "server/blobs", "common", "common/formats"],
    # main.cc and the options put the rooms together.
    "server": ["server/api", "server/app", "server/jobs", "server/dispatch", "server/fleet", "server/catalog", "server/retrieval",
               "server/access", "server/store", "server/blobs", "common", "common/formats"],
    "worker/engine": ["common/formats"],
    "worker/runtime": ["worker/engine", "common/formats", "common"],
    "worker/link": ["worker/runtime", "worker/engine", "common", "common/formats"],
    "worker": ["worker/link", "worker/runtime", "worker/engine", "common", "common/formats"],
}
OURS = ("common/", "server/", "worker/", "client/")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)
TORCH = re.compile(r"^(torch|ATen|c10|caffe2)/")
WIRE = re.compile(r"^(grpc|grpcpp|google/protobuf|google/rpc|spdlog|prometheus)/|\.pb\.h$")
SOURCES = tree.files(".h", ".cc", ".inc", ".cu", ".cuh")


def room_of(path):
    return max((room for room in ARROWS if path.startswith(room + "/")), key=len, default=None)


def includes(path):
    return [name for _, name in INCLUDE.findall(tree.text(path))]


def ours():
    return [path for path in SOURCES if path.startswith(OURS)]


@pytest.mark.parametrize("room", sorted(ARROWS))
def test_a_room_includes_only_its_arrows(room):
    wrong = []
    for path in ours():
        if room_of(path) != room:
            continue
        for name in includes(path):
            target = room_of(name) if name.startswith(OURS) else None
            if target is not None and target != room and target not in ARROWS[room]:
                wrong.append(f"{path} includes {name}")
    assert not wrong


def test_every_source_lies_in_a_room():
    assert [path for path in ours() if room_of(path) is None] == []


def test_torch_lives_in_the_engine_alone():
    wrong = [f"{path} includes {name}" for path in ours() if not path.startswith("worker/engine/")
             for name in includes(path) if TORCH.match(name)]
    assert not wrong


def test_common_formats_and_the_engine_see_no_wire_format():
    wrong = [f"{path} includes {name}" for path in ours() if path.startswith(("common/formats/", "worker/engine/"))
             for name in includes(path) if WIRE.search(name)]
    assert not wrong


def test_no_file_has_torch_and_protobuf():
    """Tests and benchmarks too: the two bring different copies of protobuf's headers."""
    wrong = []
    for path in SOURCES:
        names = includes(path)
        if any(TORCH.match(name) for name in names) and any(WIRE.search(name) for name in names):
            wrong.append(path)
    assert not wrong


def test_pure_rooms_have_no_grpc_and_no_threads():
    wrong = [f"{path} includes {name}" for path in ours() if path.startswith(("server/jobs/", "server/dispatch/", "server/fleet/"))
             for name in includes(path) if name.startswith(("grpc/", "grpcpp/")) or name in ("thread", "future") or name.endswith(".grpc.pb.h")]
    assert not wrong


def test_includes_of_ours_exist():
    known = set(SOURCES)
    wrong = [f"{path} includes {name}" for path in SOURCES for name in includes(path)
             if name.startswith(OURS) and name not in known and name != "client/version.h"]
    assert not wrong


def test_headers_are_guarded():
    assert [path for path in SOURCES if path.endswith(".h") and "#pragma once" not in tree.text(path)] == []
