"""A worker killed at any point of a job costs nothing but time: the result is the same, byte for byte."""

import random

import pytest
from jobs import Jobs, add_dataset
from tenon_process import Cluster

STEPS, SAVE_EVERY = 120, 10
TRAINING = {"batch_size": 8, "max_steps": STEPS, "save_steps": SAVE_EVERY, "eval_steps": 40, "seed": 7, "learning_rate": 1e-3}
KILLS, KILLS_PER_JOB = 20, 2  # a job may lose its worker twice and still succeed


@pytest.fixture
def cluster(tmp_path, base, rows):
    flags = ["--reconnect-ms", "200", "--heartbeat-ms", "500", "--lease-ms", "5000"]
    with Cluster(tmp_path, worker_flags=["--threads", "1", "--id", "w1"], server_flags=flags) as cluster:
        cluster.cli("bases", "add", "tiny", base)
        for name, path in rows.items():
            add_dataset(cluster, name, path)
        yield cluster


def submit(jobs, adapter):
    return jobs.create(base="tiny", adapter=adapter, train="train", validation="validation", training=TRAINING,
                       lora={"r": 4, "dropout": 0.1}).name


def check_resume(events):
    """Every training step after a resume is the one behind the checkpoint it resumed from."""
    checkpoint, resumes = 0, 0
    last_step = 0
    for event in events:
        if event.HasField("checkpoint"):
            checkpoint = event.checkpoint.step
        if event.HasField("metrics") and event.metrics.kind == "train":
            if event.metrics.step <= last_step:  # the run went back
                assert event.metrics.step == checkpoint + 1
                resumes += 1
            last_step = event.metrics.step
    return resumes


def test_killed_at_twenty_points_gives_the_same_bytes(cluster, module):
    draw = random.Random(20261122)
    jobs = Jobs(cluster.ports, module)
    reference = jobs.wait(submit(jobs, "reference"))
    assert jobs.state(reference) == "SUCCEEDED", reference.error
    expected = jobs.files(reference.result.adapter_revision)["adapter_model.safetensors"]

    kills = resumed = 0
    for index in range(KILLS // KILLS_PER_JOB):
        name = submit(jobs, f"killed-{index}")
        # Not in the last steps: a job that is through before the kill arrives loses nothing.
        for point in sorted(draw.sample(range(1, STEPS - 20), KILLS_PER_JOB)):
            job = jobs.wait_for_step(name, point)
            assert jobs.state(job) == "RUNNING", f"{name} was {jobs.state(job)} before the kill at step {point}: {job.error}"
            cluster.worker.kill()
            kills += 1
            cluster.start_worker()
        job = jobs.wait(name)
        assert jobs.state(job) == "SUCCEEDED", job.error
        assert job.recoveries == KILLS_PER_JOB
        if job.HasField("resumed_from_step"):
            resumed += 1
            assert job.resumed_from_step % SAVE_EVERY == 0
        check_resume(jobs.events(name))
        assert jobs.files(job.result.adapter_revision)["adapter_model.safetensors"] == expected, f"{name} differs"
    assert kills == KILLS
    assert resumed > KILLS // KILLS_PER_JOB // 2, "hardly a job went on from a checkpoint: the kills came too early to test anything"


def test_training_under_load_gives_the_same_bytes(cluster, module):
    jobs = Jobs(cluster.ports, module)
    alone = jobs.wait(submit(jobs, "alone"))
    assert jobs.state(alone) == "SUCCEEDED", alone.error

    messages = module("inference_service_pb2")
    stub = module("inference_service_pb2_grpc").InferenceServiceStub(jobs.channel)
    request = messages.ClassifyRequest(adapter="alone", texts=["the invoice was late again"] * 16)
    name = submit(jobs, "loaded")
    answered = 0
    while jobs.state(jobs.get(name)) not in ("SUCCEEDED", "FAILED", "CANCELLED"):
        for call in [stub.Classify.future(request, timeout=60) for _ in range(8)]:
            assert len(call.result().classifications) == 16
            answered += 1
    loaded = jobs.get(name)
    assert jobs.state(loaded) == "SUCCEEDED", loaded.error
    assert answered >= 40
    key = "adapter_model.safetensors"
    assert jobs.files(loaded.result.adapter_revision)[key] == jobs.files(alone.result.adapter_revision)[key]
