"""No row is ever answered by another's adapter, however adapters come and go."""

import json
import random
import threading

import pytest
from tenon_process import Cluster, channel, metric

ADAPTERS, CLIENTS, IN_FLIGHT, ROWS_PER_CALL = 32, 8, 8, 16
TOTAL_ROWS = 100_096  # a whole number of calls for each client
TEXT, TOLERANCE = "the parcel was late again", 1e-5


@pytest.fixture(scope="module")
def adapters(base, tmp_path_factory):
    """PEFT adapters whose labels are theirs alone."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    out = tmp_path_factory.mktemp("adapters")
    for i in range(ADAPTERS):
        torch.manual_seed(i)
        model = get_peft_model(AutoModelForSequenceClassification.from_pretrained(base, num_labels=2),
                               LoraConfig(task_type="SEQ_CLS", r=4, target_modules=["query", "value"]))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name or "classifier.modules_to_save" in name:
                    parameter.normal_(0, 0.5)  # scores far apart: an answer tells which adapter gave it
        model.save_pretrained(out / f"a{i}")
    return out


def import_all(cluster, base, adapters):
    cluster.cli("bases", "add", "tiny", base)
    for i in range(ADAPTERS):
        labels = f"no-{i},yes-{i}"
        cluster.cli("adapters", "import", adapters / f"a{i}", "--id", f"a{i}", "--base", "tiny", "--labels", labels)


def score(row, i):
    """Probability of the label `yes-{i}`."""
    return next(c.score for c in row.classes if c.label == f"yes-{i}")


def traffic(cluster, module, rows):
    """Sends `rows` rows from CLIENTS clients with IN_FLIGHT calls each; every answer must be its own adapter's, label and score."""
    messages = module("inference_service_pb2")
    failures, answered, lock = [], [0], threading.Lock()
    alone = module("inference_service_pb2_grpc").InferenceServiceStub(channel(cluster.ports))
    scores = [score(alone.Classify(messages.ClassifyRequest(adapter=f"a{i}", texts=[TEXT]), timeout=60).classifications[0], i)
              for i in range(ADAPTERS)]
    near = min(abs(a - b) for i, a in enumerate(scores) for b in scores[:i])
    assert near > 10 * TOLERANCE, f"two adapters score alike ({near}): a mix-up could hide"

    def client(seed):
        draw = random.Random(seed)
        stub = module("inference_service_pb2_grpc").InferenceServiceStub(channel(cluster.ports))
        left = rows // CLIENTS // ROWS_PER_CALL
        flying = []
        while left or flying:
            while left and len(flying) < IN_FLIGHT:
                i = draw.randrange(ADAPTERS)
                request = messages.ClassifyRequest(adapter=f"a{i}", texts=[TEXT] * ROWS_PER_CALL)
                flying.append((i, stub.Classify.future(request, timeout=300)))
                left -= 1
            i, call = flying.pop(0)
            try:
                reply = call.result()
            except Exception as error:  # noqa: BLE001  reported by the test
                failures.append(f"a{i}: {error}")
                return
            good = sum({c.label for c in row.classes} == {f"no-{i}", f"yes-{i}"} and abs(score(row, i) - scores[i]) < TOLERANCE
                       for row in reply.classifications)
            if good != ROWS_PER_CALL or reply.model.adapter != f"adapters/a{i}":
                failures.append(f"a{i} was answered by {reply.model.adapter}: {reply.classifications[:1]}")
                return
            with lock:
                answered[0] += good

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, json.dumps(failures[:5])
    return answered[0]


def test_four_slots_thirty_two_adapters(tmp_path, module, base, adapters):
    with Cluster(tmp_path, worker_flags=["--device-adapters", "4", "--threads", "2"]) as cluster:
        import_all(cluster, base, adapters)
        assert traffic(cluster, module, TOTAL_ROWS) == TOTAL_ROWS
        evictions = metric(cluster.ports["worker_metrics"], "tenon_worker_adapter_evictions_total", tier="device")
        assert evictions > 1000, "adapters hardly moved: the test tested nothing"


def test_room_for_all_mixes_batches_and_reads_no_disk(tmp_path, module, base, adapters):
    with Cluster(tmp_path, worker_flags=["--device-adapters", "64", "--threads", "2"]) as cluster:
        import_all(cluster, base, adapters)
        traffic(cluster, module, 20_480)  # brings every adapter in
        port = cluster.ports["worker_metrics"]
        name = "tenon_worker_batch_distinct_adapters"
        reads = metric(port, "tenon_worker_adapter_disk_reads_total")
        batches, narrow = metric(port, f"{name}_count"), metric(port, f"{name}_bucket", le="15")
        traffic(cluster, module, 40_960)
        assert metric(port, "tenon_worker_adapter_disk_reads_total") == reads
        batches = metric(port, f"{name}_count") - batches
        narrow = metric(port, f"{name}_bucket", le="15") - narrow
        print(f"{batches} batches, {narrow} of fewer than 16 adapters")
        assert narrow / batches < 0.5, f"{narrow} of {batches} batches had fewer than 16 distinct adapters"
