"""Fine-tuning jobs from Python: submit, watch, and fetch what they made."""

import contextlib
import pathlib

import grpc

from tenon_process import channel

FINAL = ("SUCCEEDED", "FAILED", "CANCELLED")


class Jobs:
    def __init__(self, ports, module):
        self.module = module
        self.messages = module("finetune_service_pb2")
        self.types = module("types_pb2")
        self.state_names = module("jobs_pb2").JobState
        self.channel = channel(ports)
        self.stub = module("finetune_service_pb2_grpc").FinetuneServiceStub(self.channel)
        self.catalog = module("catalog_service_pb2_grpc").CatalogServiceStub(self.channel)

    def create(self, *, base, adapter, train, validation="", method="METHOD_LORA", training=None, lora=None, job_id="", request_id=""):
        """Submits a job; `train` and `validation` are ids of data sets."""
        job = self.messages.FinetuneJob(base=base, adapter=adapter, task="TASK_SEQUENCE_CLASSIFICATION", method=method,
                                        train_dataset=train, validation_dataset=validation, training=training or {},
                                        lora=lora or {})
        request = self.messages.CreateFinetuneJobRequest(finetune_job=job, finetune_job_id=job_id, request_id=request_id)
        return self.stub.CreateFinetuneJob(request, timeout=60)

    def get(self, name):
        return self.stub.GetFinetuneJob(self.messages.GetFinetuneJobRequest(name=name), timeout=60)

    def state(self, job):
        return self.state_names.Name(job.state).removeprefix("JOB_STATE_")

    def watch(self, name, after=0, timeout=300):
        return self.stub.WatchFinetuneJob(self.messages.WatchFinetuneJobRequest(name=name, after_sequence=after), timeout=timeout)

    def wait(self, name, timeout=300):
        """The job in its final state."""
        for update in self.watch(name, timeout=timeout):
            if update.HasField("finetune_job") and self.state(update.finetune_job) in FINAL:
                return update.finetune_job
        job = self.get(name)
        assert self.state(job) in FINAL, f"the watch of {name} ended in {self.state(job)}"
        return job

    def wait_for_train_step(self, name, step, timeout=120):
        """Returns once the history has a training step at or behind `step`, or the job is final. Survives a stream that breaks."""
        with contextlib.suppress(grpc.RpcError):
            for update in self.watch(name, timeout=timeout):
                metrics = update.event.metrics
                if metrics.kind == "train" and metrics.step >= step:
                    return
                if update.HasField("finetune_job") and self.state(update.finetune_job) in FINAL:
                    return

    def events(self, name):
        """The whole history of a job in a final state."""
        return [update.event for update in self.watch(name) if update.HasField("event")]

    def files(self, revision):
        """Files of an adapter revision by name."""
        request = self.module("catalog_service_pb2").ExportAdapterRequest(name=revision)
        files = {}
        for part in self.catalog.ExportAdapter(request, timeout=60):
            files[part.file.path] = files.get(part.file.path, b"") + part.file.data
        return files


def add_dataset(cluster, name, path):
    cluster.cli("datasets", "add", name, pathlib.Path(path))
    return name
