"""What the server acknowledged is there after a SIGKILL: jobs, adapters, data sets, documents."""

import threading

import grpc
import tiny
from jobs import Jobs, add_dataset
from tenon_process import Cluster, channel

ROUNDS = 5


def test_acknowledged_work_survives(tmp_path, module, base, rows):
    retrieval = module("retrieval_service_pb2")
    datasets = module("dataset_service_pb2")
    with Cluster(tmp_path, worker_flags=["--threads", "1"], server_flags=["--lease-ms", "20000", "--heartbeat-ms", "500"]) as cluster:
        cluster.cli("bases", "add", "tiny", base)
        add_dataset(cluster, "train", rows["train"])
        cluster.cli("collections", "create", "docs", "--base", "tiny")
        jobs = Jobs(cluster.ports, module)
        first = jobs.wait(jobs.create(base="tiny", adapter="first", train="train", training={"max_steps": 3}).name)
        assert jobs.state(first) == "SUCCEEDED", first.error

        acked = {"jobs": [], "documents": [], "datasets": []}
        for round_number in range(ROUNDS):
            stop = threading.Event()

            def add_documents(start):
                stub = module("retrieval_service_pb2_grpc").RetrievalServiceStub(channel(cluster.ports))
                number = 0
                while not stop.is_set():
                    ids = [f"{start}-{round_number}-{number}-{i}" for i in range(4)]
                    request = retrieval.AddDocumentsRequest(collection="docs", documents=[
                        retrieval.Document(id=id, text=f"the parcel {id} was late") for id in ids])
                    try:
                        if stub.AddDocuments(request, timeout=20).stored_count == len(ids):
                            acked["documents"] += ids
                    except grpc.RpcError:
                        return
                    number += 1

            def add_jobs():
                local = Jobs(cluster.ports, module)
                stub = module("dataset_service_pb2_grpc").DatasetServiceStub(local.channel)
                number = 0
                while not stop.is_set():
                    id = f"set-{round_number}-{number}"
                    body = "".join('{"text": "%s", "label": "%s"}\n' % (row["text"], row["label"]) for row in tiny.toy_rows(20, number))
                    parts = [datasets.UploadDatasetRequest(header={"dataset_id": id, "format": "DATASET_FORMAT_JSONL"}),
                             datasets.UploadDatasetRequest(chunk=body.encode())]
                    try:
                        stub.UploadDataset(iter(parts), timeout=20)
                        acked["datasets"].append(id)
                        acked["jobs"].append(local.create(base="tiny", adapter=f"a-{round_number}-{number}", train=id,
                                                          training={"max_steps": 2}).name)
                    except grpc.RpcError:
                        return
                    number += 1

            threads = [threading.Thread(target=add_documents, args=(f"t{i}",)) for i in range(2)] + [threading.Thread(target=add_jobs)]
            before = {kind: len(names) for kind, names in acked.items()}
            for thread in threads:
                thread.start()
            # The kill comes in the middle of traffic, once this round has acknowledged something of each kind.
            wanted = {"documents": 20, "datasets": 2, "jobs": 1}
            while any(len(acked[kind]) - before[kind] < count for kind, count in wanted.items()):
                assert all(thread.is_alive() for thread in threads), f"round {round_number}: a call failed before the kill; {before}"
                threads[0].join(0.01)
            cluster.server.kill()
            stop.set()
            for thread in threads:
                thread.join()
            cluster.start_server()
            cluster.wait_for_worker()  # which finds the server by itself

        assert len(acked["documents"]) >= 20 * ROUNDS and len(acked["jobs"]) >= ROUNDS
        jobs = Jobs(cluster.ports, module)
        link = channel(cluster.ports)
        stub = module("retrieval_service_pb2_grpc").RetrievalServiceStub(link)
        count = stub.GetCollection(retrieval.GetCollectionRequest(name="docs"), timeout=20).document_count
        missing = stub.DeleteDocuments(retrieval.DeleteDocumentsRequest(collection="docs", ids=acked["documents"]), timeout=60).missing_ids
        assert not missing and count >= len(acked["documents"])
        names = module("dataset_service_pb2_grpc").DatasetServiceStub(link)
        for id in acked["datasets"]:
            assert names.GetDataset(datasets.GetDatasetRequest(name=id), timeout=20).row_count == 20
        assert jobs.files(first.result.adapter_revision)["adapter_model.safetensors"]
        for name in acked["jobs"]:
            job = jobs.wait(name)
            assert jobs.state(job) == "SUCCEEDED", f"{job.error} {jobs.events(name)}"
