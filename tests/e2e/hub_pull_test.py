"""`tenon bases pull` against a hub on this machine: whole and broken, honest and hostile."""

import hashlib
import json
import os
import signal
import socket
import subprocess

import pytest
import safetensors.numpy
from conftest import Shell
from hub_server import Hub, folder_files
from tenon_process import BIN, wait_until

TOKEN = "hf_" + "t0ken" * 5


@pytest.fixture
def hub():
    hub = Hub()
    yield hub
    hub.close()


@pytest.fixture(scope="module")
def tiny_files(tiny_base):
    return {name: data for name, data in folder_files(tiny_base).items() if not name.startswith(".")}


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def shards(files, count=3):
    """The same model with its weights in several files and an index."""
    tensors = safetensors.numpy.load(files["model.safetensors"])
    split = {name: data for name, data in files.items() if name != "model.safetensors"}
    index = {"metadata": {}, "weight_map": {}}
    for number in range(count):
        shard = f"model-{number + 1:05d}-of-{count:05d}.safetensors"
        part = {name: tensors[name] for name in sorted(tensors)[number::count]}
        split[shard] = safetensors.numpy.save(part, metadata={"format": "pt"})
        index["weight_map"].update({name: shard for name in part})
    split["model.safetensors.index.json"] = json.dumps(index).encode()
    return split


class Puller:
    """`tenon bases pull` against one hub, with a cache of the test's own."""

    def __init__(self, tenon, hub, cache):
        self.tenon, self.hub, self.cache = tenon, hub, cache

    def command(self, repository, *flags):
        endpoint = () if "--endpoint" in flags else ("--endpoint", self.hub.url)
        return [BIN / "tenon", "--server", self.tenon.address, "bases", "pull", repository, *endpoint, "--cache", self.cache,
                "--output", "json", *map(str, flags)]

    def run(self, repository, *flags, **environment):
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        return subprocess.run(self.command(repository, *flags), capture_output=True, text=True, timeout=120, env=clean | environment)

    def good(self, repository, *flags, **environment):
        done = self.run(repository, *flags, **environment)
        assert done.returncode == 0, done.stderr
        assert TOKEN not in done.stdout + done.stderr
        return json.loads(done.stdout)

    def bad(self, repository, *flags, **environment):
        """Exit code and error; nothing was registered."""
        before = self.bases()
        done = self.run(repository, *flags, **environment)
        assert done.returncode != 0, done.stdout
        assert TOKEN not in done.stdout + done.stderr and "signature" not in done.stderr
        assert self.bases() == before
        return done.returncode, json.loads(done.stderr.splitlines()[-1])["error"]

    def bases(self):
        return sorted(base["name"] for base in self.tenon.json("bases", "list")["bases"])


@pytest.fixture
def pull(tenon, hub, tmp_path, request):
    return Puller(tenon, hub, tmp_path / "cache")


def test_minilm_is_pulled_and_answers(pull, hub, tenon, minilm):
    """The real weights, from the first request to an embedding; again does nothing twice."""
    files = folder_files(minilm)
    commit = hub.add("sentence-transformers/all-MiniLM-L6-v2", files | {"pytorch_model.bin": b"pickle", "README.md": b"x", "onnx/model.bin": b"o"})
    base = pull.good("sentence-transformers/all-MiniLM-L6-v2")
    assert base["name"] == "bases/all-minilm-l6-v2"
    assert base["source"]["commit"] == base["source"]["weightsCommit"] == commit
    stored = {file["path"]: file["sha256"] for file in base["files"]}
    assert stored["model.safetensors"] == sha256(files["model.safetensors"])
    assert stored["1_Pooling_config.json"] == sha256(files["1_Pooling/config.json"])
    tenon.text("bases", "add", "added", minilm)
    text = "Where is my parcel?"
    pulled, added = (tenon.json("embed", "--base", name, text)["embedding"] for name in ("all-minilm-l6-v2", "added"))
    assert len(pulled) == 384 and pulled == added
    # What the engine does not read stayed where it was.
    asked = " ".join(request.path for request in hub.main.log)
    assert "pytorch_model.bin" not in asked and "README" not in asked and "onnx" not in asked
    sent = sum(hub.sent.values())
    assert pull.good("sentence-transformers/all-MiniLM-L6-v2")["digest"] == base["digest"]
    assert sum(hub.sent.values()) == sent == len(files["model.safetensors"])


def test_shards(pull, hub, tiny_files, tenon):
    files = shards(tiny_files)
    hub.page = 2  # a tree of many pages
    hub.add("acme/sharded", files)
    base = pull.good("acme/sharded")
    assert {file["path"] for file in base["files"]} >= {name for name in files if name.startswith("model")}
    assert all(hub.sent[sha256(data)] == len(data) for name, data in files.items() if name.endswith(".safetensors"))
    assert len(tenon.json("embed", "--base", "sharded", "parcel")["embedding"]) == 64


def test_a_shard_that_is_not_there(pull, hub, tiny_files):
    files = shards(tiny_files)
    missing = files.pop("model-00002-of-00003.safetensors")
    hub.add("acme/hole", files)
    code, error = pull.bad("acme/hole")
    assert (code, error["reason"], error["field"]) == (2, "BASE_INVALID", "model-00002-of-00003.safetensors")
    assert missing and not hub.sent


def test_cut_connections_are_resumed(pull, hub, tiny_files):
    hub.add("acme/cut", tiny_files)
    weights = tiny_files["model.safetensors"]
    hub.cuts = [50_000, 1, 100_000]
    pull.good("acme/cut")
    # Every byte travelled once.
    assert hub.sent[sha256(weights)] == len(weights)
    ranges = [request.headers.get("Range") for request in hub.store.log]
    assert ranges == [None, "bytes=50000-", "bytes=50001-", "bytes=150001-"]
    assert all(request.headers["If-Range"] for request in hub.store.log[1:])


def test_a_later_run_goes_on_where_a_killed_one_ended(pull, hub, tiny_files):
    hub.add("acme/later", tiny_files)
    weights = tiny_files["model.safetensors"]
    # Cut so often, without a byte between, that the pull gives up.
    hub.cuts = [70_000, 0, 0, 0, 0, 0]
    code, error = pull.bad("acme/later")
    assert (code, error["reason"]) == (6, "HUB_UNAVAILABLE")
    hub.cuts = []
    pull.good("acme/later")
    assert hub.sent[sha256(weights)] == len(weights)


POOLING = {
    "modules.json": json.dumps([{"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
                                for n, (path, kind) in enumerate([("", "Transformer"), ("1_Pooling", "Pooling")])]).encode(),
    "1_Pooling/config.json": json.dumps({"word_embedding_dimension": 64, "pooling_mode_cls_token": True}).encode(),
}


def test_a_run_killed_between_two_files_of_which_one_names_the_other_is_resumed(pull, hub, tiny_files):
    hub.add("acme/halfway", tiny_files | POOLING)
    came, ended, answer = [], [], hub.main.server.RequestHandlerClass.do_GET

    def held(handler):
        if handler.path.endswith("/1_Pooling/config.json"):
            came.append(handler.path)
            wait_until(lambda: ended)
        answer(handler)

    hub.main.server.RequestHandlerClass.do_GET = held
    first = subprocess.Popen(pull.command("acme/halfway"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: came)
    first.kill()
    first.communicate()
    ended.append(True)
    assert list(pull.cache.rglob("modules.json")) and not list(pull.cache.rglob("1_Pooling/config.json"))
    base = pull.good("acme/halfway")
    assert {file["path"] for file in base["files"]} >= {"modules.json", "1_Pooling_config.json"}


def test_a_spoiled_small_file_of_the_cache_is_fetched_again(pull, hub, tiny_files):
    hub.add("acme/small-rot", tiny_files | POOLING)
    digest = pull.good("acme/small-rot")["digest"]
    next(pull.cache.rglob("modules.json")).write_bytes(b"[{")
    assert pull.good("acme/small-rot")["digest"] == digest


def test_a_hub_that_only_ever_starts_again_is_given_up(pull, hub, tiny_files):
    hub.add("acme/anew", tiny_files)
    hub.ranges = False
    # Never further than the first try: one that came further than the try before it has not come nearer to the end.
    hub.cuts = [70_000] + [50_000, 60_000] * 20
    code, error = pull.bad("acme/anew")
    assert (code, error["reason"]) == (6, "HUB_UNAVAILABLE")
    assert len(hub.store.log) == 5


def test_an_empty_file(pull, hub, tiny_files):
    hub.add("acme/empty", tiny_files | {"merges.txt": b""})
    pull.good("acme/empty")
    file = next(pull.cache.rglob("merges.txt"))
    assert file.stat().st_size == 0 and [path.name for path in file.parent.glob("merges*")] == ["merges.txt"]


def test_a_file_that_changed_meanwhile_is_taken_whole(pull, hub, tiny_files):
    hub.add("acme/changed", tiny_files)
    weights = tiny_files["model.safetensors"]
    partial = pull.cache / "acme--changed" / hub.refs["acme/changed", "main"] / "model.safetensors.partial"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"\0" * 1000)
    partial.with_suffix(".etag").write_text('"of another file"\n')
    assert pull.good("acme/changed")["name"] == "bases/changed"
    assert hub.sent[sha256(weights)] == len(weights)


def test_spoiled_bytes_of_an_earlier_run_are_thrown_away(pull, hub, tiny_files):
    hub.add("acme/spoiled", tiny_files)
    weights = tiny_files["model.safetensors"]
    folder = pull.cache / "acme--spoiled" / hub.refs["acme/spoiled", "main"]
    folder.mkdir(parents=True)
    (folder / "model.safetensors.partial").write_bytes(b"\0" * 1000)
    pull.good("acme/spoiled")
    # The rest, then all of it.
    assert hub.sent[sha256(weights)] == 2 * len(weights) - 1000
    assert sorted(path.name for path in folder.iterdir() if "model" in path.name) == ["model.safetensors"]


def test_a_spoiled_file_of_the_cache_is_fetched_again(pull, hub, tiny_files):
    hub.add("acme/rot", tiny_files)
    digest = pull.good("acme/rot")["digest"]
    file = next(pull.cache.rglob("model.safetensors"))
    file.write_bytes(b"\1" + file.read_bytes()[1:])
    assert pull.good("acme/rot")["digest"] == digest
    assert file.read_bytes() == tiny_files["model.safetensors"]


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json"])
def test_wrong_bytes(pull, hub, tiny_files, file):
    hub.add("acme/wrong", tiny_files)
    data = tiny_files[file]
    hub.wrong[sha256(data) if file.endswith("safetensors") else file] = data[:-1] + bytes([data[-1] ^ 1])
    code, error = pull.bad("acme/wrong")
    assert (code, error["reason"], error["field"]) == (2, "DIGEST_MISMATCH", file)
    assert not list(pull.cache.rglob(file + "*"))  # nor the half of it
    # The tokenizer comes first: weights that could not be used were not asked for.
    assert bool(hub.store.log) == (file == "model.safetensors")


def test_a_length_that_was_not_listed(pull, hub, tiny_files):
    hub.add("acme/huge", tiny_files)
    digest = sha256(tiny_files["model.safetensors"])
    hub.claims[digest] = 10**15
    code, error = pull.bad("acme/huge")
    assert code == 1 and "1000000000000000 bytes are offered" in error["message"]
    assert len(hub.store.log) == 1


def test_a_model_larger_than_the_disk(pull, hub, tiny_files, monkeypatch):
    hub.add("acme/vast", tiny_files)
    monkeypatch.setattr(Hub, "entry", lambda self, path, data, real=Hub.entry: real(self, path, data) | (
        {"lfs": {"oid": sha256(data), "size": 10**17}} if path == "model.safetensors" else {}))
    code, error = pull.bad("acme/vast")
    assert code == 7 and "--cache" in error["message"]
    assert not hub.store.log


def test_names_that_lead_out_of_the_folder(pull, hub, tiny_files, tmp_path):
    hub.add("acme/siblings", tiny_files, siblings=["config.json", "../x"])
    assert pull.bad("acme/siblings")[0] == 1
    hub.add("acme/tree", tiny_files | {"../x": b"x"})
    assert "'../x'" in pull.bad("acme/tree")[1]["message"].replace('"', "'")
    evil = shards(tiny_files)
    evil["model.safetensors.index.json"] = evil["model.safetensors.index.json"].replace(b"model-00001", b"../model-00001")
    hub.add("acme/index", evil)
    assert pull.bad("acme/index")[1]["field"] == "model.safetensors.index.json"
    modules = json.dumps([{"idx": 0, "name": "0", "path": "../x", "type": "sentence_transformers.models.Pooling"}]).encode()
    hub.add("acme/modules", tiny_files | {"modules.json": modules})
    assert "modules.json" in pull.bad("acme/modules")[1]["message"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache"] and not hub.store.log


def test_the_token_stays_with_the_hub(pull, hub, tiny_files, tmp_path):
    hub.add("acme/gated", tiny_files)
    hub.gated["acme/gated"] = TOKEN
    code, error = pull.bad("acme/gated")
    assert (code, error["reason"]) == (5, "HUB_DENIED") and f"{hub.url}/acme/gated" in error["message"] and "HF_TOKEN" in error["message"]
    assert pull.bad("acme/gated", HF_TOKEN="hf_another")[1]["reason"] == "HUB_DENIED"
    (tmp_path / "token").write_text(TOKEN + "\n")
    # The file's token goes before the environment's.
    pull.good("acme/gated", "--token-file", tmp_path / "token", HF_TOKEN="hf_another")
    assert hub.main.log[-1].headers["Authorization"] == f"Bearer {TOKEN}"
    assert hub.store.log and not any("Authorization" in request.headers for request in hub.store.log)


def test_private_and_missing(pull, hub, tiny_files):
    hub.add("acme/private", tiny_files)
    hub.private["acme/private"] = TOKEN
    code, error = pull.bad("acme/private")
    assert (code, error["reason"]) == (3, "NOT_FOUND") and "HF_TOKEN" in error["message"]
    assert pull.good("acme/private", HF_TOKEN=TOKEN)["name"] == "bases/private"
    assert pull.bad("acme/nothing")[1]["reason"] == "NOT_FOUND"
    code, error = pull.bad("acme/private", "--revision", "v9/x", HF_TOKEN=TOKEN)
    assert (code, error["field"]) == (3, "--revision") and "v9/x" in error["message"]


@pytest.mark.parametrize("text", ["", "two\nlines", "a b", "x" * 5000])
def test_a_file_without_a_token(pull, hub, tmp_path, text):
    (tmp_path / "token").write_text(text)
    code, error = pull.bad("acme/any", "--token-file", tmp_path / "token")
    assert (code, error["field"]) == (2, "--token-file")
    assert not hub.main.log


def test_a_revision_is_pinned(pull, hub, tiny_files):
    old = hub.add("acme/pinned", tiny_files, ref="v1")
    hub.add("acme/pinned", tiny_files | {"special_tokens_map.json": b"{}"})
    assert pull.good("acme/pinned", "--revision", "v1", "--name", "pinned-old")["source"]["commit"] == old
    assert all(f"/resolve/{old}/" in request.path for request in hub.asked("/resolve/"))
    # The same name for other files is refused, and changes nothing.
    pull.good("acme/pinned", "--revision", old, "--name", "pinned-old")
    code, error = pull.bad("acme/pinned", "--name", "pinned-old")
    assert (code, error["reason"]) == (4, "ALREADY_EXISTS")


def test_a_busy_hub_is_asked_again_when_it_says(pull, hub, tiny_files):
    hub.add("acme/busy", tiny_files)
    hub.statuses = [(429, {"Retry-After": "1"}), (503, {}), (500, {})]
    done = pull.run("acme/busy")
    assert done.returncode == 0
    assert "too many requests" in done.stderr and "Trying again in 1s" in done.stderr
    hub.statuses = [(429, {"Retry-After": "86400"})]
    code, error = pull.bad("acme/busy")
    assert (code, error["reason"]) == (6, "HUB_UNAVAILABLE") and "24h" in error["message"]


def test_a_hub_that_cannot_be_reached(pull, hub):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        code, error = pull.bad("acme/any", "--endpoint", f"http://127.0.0.1:{closed.getsockname()[1]}")
    assert (code, error["reason"]) == (6, "HUB_UNAVAILABLE") and "/api/models/acme/any" in error["message"]


def test_a_silent_hub_is_left(pull, hub):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        done = subprocess.Popen(pull.command("acme/any", "--endpoint", f"http://127.0.0.1:{silent.getsockname()[1]}", "--timeout", "1"),
                                stderr=subprocess.PIPE, text=True)
        # The first try ended and the second one is announced; Ctrl-C ends it all.
        assert "Trying again" in done.stderr.readline()
        done.send_signal(signal.SIGINT)
        assert done.wait(30) == 130


def test_what_cannot_run_is_refused_before_its_weights(pull, hub, tiny_files):
    config = json.loads(tiny_files["config.json"])
    hub.add("acme/other", tiny_files | {"config.json": json.dumps(config | {"model_type": "mamba"}).encode()})
    code, error = pull.bad("acme/other")
    assert (code, error["reason"], error["field"]) == (2, "UNSUPPORTED", "model_type")
    assert [request.path.rsplit("/", 1)[1] for request in hub.asked("/resolve/")] == ["config.json"]
    hub.add("acme/relative", tiny_files | {"config.json": json.dumps(config | {"position_embedding_type": "relative_key"}).encode()})
    assert pull.bad("acme/relative")[1]["field"] == "position_embedding_type"
    hub.add("acme/plain", {"README.md": b"hello"})
    assert pull.bad("acme/plain")[1]["field"] == "config.json"
    hub.add("acme/mute", {name: data for name, data in tiny_files.items() if "token" not in name and name != "vocab.txt"})
    assert pull.bad("acme/mute")[1]["field"] == "tokenizer.json"
    assert not hub.store.log


def pickled(files):
    rest = {name: data for name, data in files.items() if name != "model.safetensors"}
    return rest | {"pytorch_model.bin": b"\x80\x02 not to be opened"}


def test_a_pickle_without_a_conversion(pull, hub, tiny_files):
    hub.add("acme/pickled", pickled(tiny_files))
    code, error = pull.bad("acme/pickled")
    assert (code, error["reason"], error["field"]) == (2, "BASE_INVALID", "model.safetensors")
    assert "save_pretrained" in error["message"] and "tenon bases add pickled" in error["message"]
    # Anybody may open a request with such a title; one may be closed; one may convert other weights.
    converted = pickled(tiny_files) | {"model.safetensors": tiny_files["model.safetensors"]}
    hub.propose("acme/pickled", 3, converted, author="mallory")
    hub.propose("acme/pickled", 4, converted, status="closed")
    hub.propose("acme/pickled", 5, converted | {"pytorch_model.bin": b"other weights"})
    assert pull.bad("acme/pickled")[1]["reason"] == "BASE_INVALID"
    assert not hub.store.log


def test_a_pickle_with_the_hubs_conversion(pull, hub, tiny_files, tenon):
    commit = hub.add("acme/converted", pickled(tiny_files))
    hub.propose("acme/converted", 1, {}, author="someone", title="Fix a typo")
    request = hub.propose("acme/converted", 2, pickled(tiny_files) | {"model.safetensors": tiny_files["model.safetensors"]})
    source = pull.good("acme/converted")["source"]
    assert (source["commit"], source["weightsCommit"]) == (commit, request)
    assert not hub.asked("pytorch_model.bin")
    assert len(tenon.json("embed", "--base", "converted", "parcel")["embedding"]) == 64


def test_two_pulls_of_one_repository_do_not_mix(pull, hub, tiny_files):
    hub.add("acme/twice", tiny_files)
    release = []
    answer = hub.store.server.RequestHandlerClass.do_GET

    def held(handler):
        wait_until(lambda: release)
        answer(handler)

    hub.store.server.RequestHandlerClass.do_GET = held
    first = subprocess.Popen(pull.command("acme/twice"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: len(hub.asked("model.safetensors")) == 1)
    code, error = pull.bad("acme/twice", "--name", "another")
    release.append(True)
    assert first.wait(60) == 0
    assert code == 4 and "Another pull" in error["message"]


@pytest.mark.parametrize("repository", ["", "../x", "a/b/c", "_x/y", "a b/c", "https://huggingface.co/a/b"])
def test_what_is_no_repository(pull, hub, repository):
    code, error = pull.bad(repository)
    assert (code, error["reason"]) == (2, "ID_INVALID")
    assert not hub.main.log


@pytest.mark.parametrize("endpoint,environment", [("ftp://127.0.0.1", {}), ("nonsense://", {}), ("http://user:secret@127.0.0.1", {}),
                                                  ("http://mirror.test", {"HF_TOKEN": TOKEN})])
def test_endpoints_that_are_refused(pull, endpoint, environment):
    code, error = pull.bad("acme/any", "--endpoint", endpoint, **environment)
    assert (code, error["field"]) == (2, "--endpoint")
    assert "secret@" not in error["message"]


def test_the_endpoint_of_the_environment(pull, hub, tiny_files):
    hub.add("acme/environment", tiny_files)
    command = [part for part in pull.command("acme/environment") if part not in ("--endpoint", hub.url)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"HF_ENDPOINT": hub.url + "/"})
    assert done.returncode == 0, done.stderr


def test_an_unreachable_server_is_told_first(hub, tiny_files, tmp_path):
    hub.add("acme/early", tiny_files)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        early = Puller(Shell(f"127.0.0.1:{closed.getsockname()[1]}"), hub, tmp_path)
        assert early.run("acme/early").returncode == 6
    assert not hub.main.log
