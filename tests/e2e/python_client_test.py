"""The main job from Python: with stubs made from the published protos, and by a client that knows reflection alone."""

import json

import grpc
import pytest
from conftest import EXAMPLES
from reflection_client import ReflectionClient
from tenon_process import channel

TRAIN, VALIDATION = ((EXAMPLES / "tickets" / f"{part}.jsonl").read_bytes() for part in ("train", "validation"))
DOCUMENTS = [json.loads(line) for line in (EXAMPLES / "documents/documents.jsonl").read_text().splitlines()]
SERVICES = {"FinetuneService", "EvalService", "InferenceService", "RetrievalService", "CatalogService", "DatasetService", "AdminService"}


@pytest.fixture(scope="module", autouse=True)
def base(tenon, minilm):
    tenon.text("bases", "add", "minilm", minilm)


def test_stubs_run_the_main_job(cluster, module):
    line = channel(cluster.ports)
    datasets, finetune, inference, retrieval = (module(f"{name}_service_pb2") for name in ("dataset", "finetune", "inference", "retrieval"))
    upload = module("dataset_service_pb2_grpc").DatasetServiceStub(line).UploadDataset
    for name, data in (("train", TRAIN), ("validation", VALIDATION)):
        header = datasets.UploadDatasetRequest.Header(dataset_id=f"stubs-{name}", format=datasets.DATASET_FORMAT_JSONL)
        reply = upload(iter([datasets.UploadDatasetRequest(header=header), datasets.UploadDatasetRequest(chunk=data)]), timeout=60)
        assert reply.dataset.name == f"datasets/stubs-{name}"

    jobs = module("finetune_service_pb2_grpc").FinetuneServiceStub(line)
    request = finetune.CreateFinetuneJobRequest(finetune_job={
        "base": "bases/minilm", "adapter": "stubs", "task": "TASK_SEQUENCE_CLASSIFICATION", "method": "METHOD_LORA",
        "train_dataset": "stubs-train", "validation_dataset": "stubs-validation",
        "training": {"max_steps": 90, "learning_rate": 1e-3, "seed": 7}, "lora": {"r": 8}})
    job = jobs.CreateFinetuneJob(request, timeout=60)
    last = None
    for update in jobs.WatchFinetuneJob(finetune.WatchFinetuneJobRequest(name=job.name), timeout=600):
        if update.HasField("finetune_job"):
            last = update.finetune_job
    assert last.state == module("jobs_pb2").JOB_STATE_SUCCEEDED, last.error
    best = {metric.name: metric.value for metric in last.result.best}
    assert best["accuracy"] > 0.6

    classify = module("inference_service_pb2_grpc").InferenceServiceStub(line).Classify
    reply = classify(inference.ClassifyRequest(adapter="stubs", texts=["Where is my parcel?", "The app crashes"], top_k=1), timeout=60)
    assert [c.label for c in reply.classifications] == ["delivery", "technical"]
    assert last.result.adapter_revision.endswith(reply.model.revision)

    documents = module("retrieval_service_pb2_grpc").RetrievalServiceStub(line)
    documents.CreateCollection(retrieval.CreateCollectionRequest(collection_id="stubs", collection={"base": "minilm"}), timeout=60)
    rows = [retrieval.Document(id=row["id"], text=row["text"]) for row in DOCUMENTS]
    assert documents.AddDocuments(retrieval.AddDocumentsRequest(collection="stubs", documents=rows), timeout=120).stored_count == 50
    reply = documents.Retrieve(retrieval.RetrieveRequest(collection="stubs", queries=["how long do I have to send something back"], top_k=1), timeout=60)
    assert reply.results[0].hits[0].id == "returns-window"


def test_errors_carry_their_details(cluster, module):
    from google.rpc import error_details_pb2
    from grpc_status import rpc_status

    inference = module("inference_service_pb2")
    classify = module("inference_service_pb2_grpc").InferenceServiceStub(channel(cluster.ports)).Classify
    with pytest.raises(grpc.RpcError) as caught:
        classify(inference.ClassifyRequest(adapter="stubs", texts=["good", ""]), timeout=60)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    status = rpc_status.from_call(caught.value)
    details = {detail.type_url.split(".")[-1]: detail for detail in status.details}
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert details["ErrorInfo"].Unpack(info) and (info.reason, info.domain) == ("TEXT_EMPTY", "tenon")
    assert details["BadRequest"].Unpack(bad) and bad.field_violations[0].field == "texts[1]"
    assert len(status.SerializeToString()) < 4096


def test_a_cancelled_call_ends(cluster, module):
    jobs = module("finetune_service_pb2_grpc").FinetuneServiceStub(channel(cluster.ports))
    finetune = module("finetune_service_pb2")
    job = jobs.CreateFinetuneJob(finetune.CreateFinetuneJobRequest(finetune_job={
        "base": "minilm", "adapter": "endless", "task": "TASK_SEQUENCE_CLASSIFICATION", "method": "METHOD_LORA", "train_dataset": "stubs-train",
        "training": {"max_steps": 100000}}), timeout=60)
    watch = jobs.WatchFinetuneJob(finetune.WatchFinetuneJobRequest(name=job.name))
    next(watch)
    watch.cancel()
    with pytest.raises(grpc.RpcError) as caught:
        for _ in watch:
            pass
    assert caught.value.code() == grpc.StatusCode.CANCELLED
    jobs.CancelFinetuneJob(finetune.CancelFinetuneJobRequest(name=job.name), timeout=60)


def test_reflection_alone_runs_the_main_job(cluster):
    client = ReflectionClient(channel(cluster.ports))
    assert {name.removeprefix("tenon.v1.") for name in client.services() if name.startswith("tenon.v1.")} == SERVICES
    assert {"grpc.health.v1.Health"} <= set(client.services())

    header = {"header": {"dataset_id": "reflected", "format": "DATASET_FORMAT_JSONL"}}
    client.call("tenon.v1.DatasetService/UploadDataset", header, {"chunk": TRAIN})
    job = client.call("tenon.v1.FinetuneService/CreateFinetuneJob", {"finetune_job": {
        "base": "minilm", "adapter": "reflected", "task": "TASK_SEQUENCE_CLASSIFICATION", "method": "METHOD_HEAD", "train_dataset": "reflected"}})
    *_, last = client.stream("tenon.v1.FinetuneService/WatchFinetuneJob", {"name": job.name})
    assert client.get("tenon.v1.FinetuneService/GetFinetuneJob", {"name": job.name}, "state") == "JOB_STATE_SUCCEEDED", last
    reply = client.call("tenon.v1.InferenceService/Classify", {"adapter": "reflected", "texts": ["My card was charged twice for one order"]})
    assert reply.classifications[0].label == "billing"
    assert len(client.call("tenon.v1.InferenceService/Embed", {"base": "minilm", "texts": ["hello"]}).embeddings[0].embedding) == 384

    client.call("tenon.v1.RetrievalService/CreateCollection", {"collection_id": "reflected", "collection": {"base": "minilm"}})
    rows = [{"id": row["id"], "text": row["text"], "metadata": row["metadata"]} for row in DOCUMENTS]
    assert client.call("tenon.v1.RetrievalService/AddDocuments", {"collection": "reflected", "documents": rows}).stored_count == 50
    reply = client.call("tenon.v1.RetrievalService/Retrieve", {"collection": "reflected", "queries": ["parcel disappeared on the way"], "top_k": 1,
                                                              "filter": {"area": "delivery"}})
    assert reply.results[0].hits[0].id == "delivery-lost"


def test_every_published_method_works_or_says_why(cluster):
    """No method that is listed is UNIMPLEMENTED."""
    client = ReflectionClient(channel(cluster.ports))
    for service in client.services():
        if not service.startswith("tenon.v1."):
            continue
        for method in client.methods(service):
            try:
                client.first(f"{service}/{method}", {})
            except grpc.RpcError as error:
                assert error.code() not in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN), f"{service}/{method}: {error}"


def check_health(line, service):
    """grpc.health.v1's Check, written out: gRPC's own health service shows no descriptor to reflection."""
    name = service.encode()
    call = line.unary_unary("/grpc.health.v1.Health/Check", request_serializer=bytes, response_deserializer=bytes)
    return call((b"\x0a" + bytes([len(name)]) + name) if name else b"", timeout=60)


def test_health_by_service(cluster, tenon):
    tenon.text("embed", "--base", "minilm", "hello")  # answered: so a worker serves
    line = channel(cluster.ports)
    for service in ("", "tenon.v1.InferenceService", "tenon.v1.RetrievalService"):
        assert check_health(line, service) == b"\x08\x01", service  # SERVING
    with pytest.raises(grpc.RpcError) as caught:
        check_health(line, "no.such.Service")
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
