"""What idle and busy processes hold: a small server, and a worker with one base however many adapters and jobs it has."""

import json
import pathlib

import pytest
import tiny
from jobs import Jobs, add_dataset
from tenon_process import Cluster, channel, metric, wait_until

MB = 1 << 20
ADAPTERS = 32
JOBS = 4  # of each precision
# What a program's working memory may vary by: activations, kernels' own buffers, what malloc keeps. Measured: up to 75 MiB. A copy
# of the base for each job would take 4 x 87 MiB, one for each adapter 32 x 87 MiB.
ALLOWANCE = 150 * MB
SERVER_LIMIT = 150 * MB


def resident(process, kind="VmRSS"):
    """Resident bytes of a process: all of them, or RssAnon, those that are not pages of files."""
    for line in pathlib.Path(f"/proc/{process.process.pid}/status").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no {kind}")


def plain_bytes(base):
    """Bytes of a base's fp32 weights, from the file's own header."""
    with open(base / "model.safetensors", "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    tensors = [entry for name, entry in header.items() if name != "__metadata__" and entry["dtype"] == "F32"]
    return sum(entry["data_offsets"][1] - entry["data_offsets"][0] for entry in tensors)


@pytest.fixture(scope="module")
def adapters(minilm, tmp_path_factory):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    out = tmp_path_factory.mktemp("adapters")
    model = AutoModelForSequenceClassification.from_pretrained(minilm, num_labels=3)
    model = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", r=8, target_modules=["query", "value"]))
    for i in range(ADAPTERS):
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(0, 0.1)
        model.save_pretrained(out / f"a{i}")
    return [out / f"a{i}" for i in range(ADAPTERS)]


class Worker:
    """What a worker says that it holds, and what the system says."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.start = None

    def said(self):
        """Bytes of bases, and of adapters in memory and on the device."""
        port = self.cluster.ports["worker_metrics"]
        names = ("base_bytes", "adapter_memory_bytes", "adapter_device_bytes")
        base, *adapters = (int(metric(port, f"tenon_worker_{name}")) for name in names)
        return base, sum(adapters)

    def check(self, what):
        """Since the first check it has grown by what it says, and no more. Returns the bytes of bases that it says."""
        base, adapters = self.said()
        now = resident(self.cluster.worker) - base - adapters
        print(f"{what}: base {base / MB:.1f} MiB, adapters {adapters / MB:.1f} MiB, the rest {now / MB:.1f} MiB")
        if self.start is None:
            self.start = now
        assert now <= self.start + ALLOWANCE, f"{what}: {(now - self.start) / MB:.0f} MiB more than it says"
        return base


def serve(cluster, module, names):
    """Mixed batches of always the same size: rows of the adapters, or of the base alone."""
    messages = module("inference_service_pb2")
    stub = module("inference_service_pb2_grpc").InferenceServiceStub(channel(cluster.ports))
    texts = [row["text"] for row in tiny.toy_rows(16)]
    for _ in range(3):
        calls = [stub.Classify.future(messages.ClassifyRequest(adapter=name, texts=texts), timeout=60) for name in names]
        calls += [stub.Embed.future(messages.EmbedRequest(base="minilm", texts=texts), timeout=60) for _ in range(ADAPTERS - len(names))]
        for call in calls:
            call.result()


def test_one_copy_of_the_base_for_each_precision(tmp_path, module, minilm, adapters):
    with Cluster(tmp_path, worker_flags=["--threads", "2", "--device-adapters", str(ADAPTERS)]) as cluster:
        wait_until(lambda: cluster.cli("workers", "list", "--output", "json").strip())
        idle_server = resident(cluster.server)
        print(f"idle server: {idle_server / MB:.1f} MiB")
        assert idle_server < SERVER_LIMIT
        empty = resident(cluster.worker, "RssAnon")
        worker = Worker(cluster)
        cluster.cli("bases", "add", "minilm", minilm)
        cluster.wait_for_worker()
        add_dataset(cluster, "train", tiny.write_jsonl(tmp_path / "train.jsonl", tiny.toy_rows(64)))
        jobs = Jobs(cluster.ports, module)

        def train(precision, number):
            training = {"max_steps": 6, "batch_size": 8, "precision": precision, "seed": number}
            job = jobs.wait(jobs.create(base="minilm", adapter=f"{precision}-{number}", train="train",
                                        training=training).name)
            assert jobs.state(job) == "SUCCEEDED", job.error

        plain = plain_bytes(minilm)
        loaded = resident(cluster.worker, "RssAnon") - empty
        fp32 = worker.said()[0]
        print(f"loading the base: {loaded / MB:.1f} MiB for {fp32 / MB:.1f} MiB of base, {plain / MB:.1f} MiB of file")
        assert .99 * plain < fp32 < 2 * plain, "not one plain and at most one packed copy"
        # Which products are packed is measured, and what was measured and not taken may stay with malloc.
        assert loaded < 2.5 * plain, "more than one plain and one packed copy"
        serve(cluster, module, [])
        assert worker.check("serving the base") == fp32

        for i, folder in enumerate(adapters):
            cluster.cli("adapters", "import", folder, "--id", f"a{i}", "--base", "minilm", "--labels", "account,billing,delivery")
        serve(cluster, module, [f"a{i}" for i in range(ADAPTERS)])
        assert worker.check("and 32 adapters") == fp32

        for number in range(JOBS):
            train("fp32", number)
        assert worker.check(f"and {JOBS} fp32 jobs") == fp32

        train("bf16", 0)
        both = worker.check("and a bf16 job")
        assert .99 * plain / 2 < both - fp32 < plain, "not one plain and at most one packed copy"
        # Each job has other lengths of batches: a kernel that is compiled for each of them would stay for ever.
        for number in range(1, 2 * JOBS):
            train("bf16", number)
        serve(cluster, module, [f"a{i}" for i in range(ADAPTERS)])
        assert worker.check(f"and {2 * JOBS} bf16 jobs") == both

        busy_server = resident(cluster.server)
        print(f"server behind all that: {busy_server / MB:.1f} MiB")
        assert busy_server < SERVER_LIMIT
