"""A worker killed at any point of a job costs nothing but time: the result is the same, byte for byte."""

import collections
import random

import pytest
from jobs import FINAL, Jobs, add_dataset
from tenon_process import Cluster, metric

STEPS, SAVE_EVERY = 120, 10
TRAINING = {"batch_size": 8, "max_steps": STEPS, "save_steps": SAVE_EVERY, "eval_steps": 40, "seed": 7, "learning_rate": 1e-3}
KILLS = 20  # one in each twentieth of the job
EDGE = STEPS // KILLS
TRIES = 4  # for a job that is through before the kill arrives


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


def kill_points(draw):
    """A step in every twentieth of the job, in pairs: a job may lose its worker twice and still succeed."""
    points = [draw.randrange(i * EDGE + 1, (i + 1) * EDGE + 1) for i in range(KILLS)]
    points[-1] = STEPS - EDGE + 1  # the kill must find the last steps undone
    return list(zip(points[:KILLS // 2], points[KILLS // 2:], strict=True))


def train_with_kills(cluster, jobs, adapter, points):
    """The job when it has succeeded. The worker is killed whenever the job's history reaches a point."""
    name = submit(jobs, adapter)
    for point in points:
        jobs.wait_for_train_step(name, point)
        cluster.worker.kill()
        cluster.start_worker()
    job = jobs.wait(name)
    assert jobs.state(job) == "SUCCEEDED", job.error
    return job


def losses(events):
    """For each loss of the worker: the last training step that the history had, and the last checkpoint (0: none)."""
    found, step, checkpoint = [], 0, 0
    for event in events:
        if event.HasField("metrics") and event.metrics.kind == "train":
            step = event.metrics.step
        if event.HasField("checkpoint"):
            checkpoint = event.checkpoint.step
        if event.HasField("state_change") and event.state_change.reason.endswith("was lost"):
            found.append((step, checkpoint))
    return found


def test_killed_at_twenty_points_gives_the_same_bytes(cluster, module):
    jobs = Jobs(cluster.ports, module)
    reference = jobs.wait(submit(jobs, "reference"))
    assert jobs.state(reference) == "SUCCEEDED", reference.error
    expected = jobs.files(reference.result.adapter_revision)["adapter_model.safetensors"]

    kills = []
    for index, points in enumerate(kill_points(random.Random(20261122))):
        for attempt in range(TRIES):
            job = train_with_kills(cluster, jobs, f"killed-{index}-{attempt}", points)
            if job.recoveries == len(points):
                break
        else:
            raise AssertionError(f"the job was through before the kill at steps {points}, {TRIES} times")
        lost = losses(jobs.events(job.name))
        assert len(lost) == len(points)
        kills += lost
        # The last run goes on behind the last checkpoint: its process, which trained nothing else, did the steps that were left.
        assert job.resumed_from_step == lost[-1][1]
        done = metric(cluster.ports["worker_metrics"], "tenon_worker_train_steps_total")
        assert done == STEPS - lost[-1][1], f"{job.name}: {done} steps behind the checkpoint at {lost[-1][1]}"
        assert jobs.files(job.result.adapter_revision)["adapter_model.safetensors"] == expected, f"{job.name} differs"
    assert len(kills) == KILLS
    steps = sorted(step for step, _ in kills)
    print(f"killed behind steps {steps}")
    assert steps[0] <= EDGE and steps[-1] > STEPS - EDGE, f"the kills did not reach both ends: {steps}"
    assert sum(checkpoint > 0 for _, checkpoint in kills) > KILLS // 2, "the kills came too early to test anything"


def test_a_job_that_goes_on_on_another_kind_of_machine_says_so(cluster, module):
    jobs = Jobs(cluster.ports, module)
    name = submit(jobs, "moved")
    jobs.wait_for_train_step(name, 2 * SAVE_EVERY)
    cluster.worker.kill()
    cluster.worker_flags[cluster.worker_flags.index("--threads") + 1] = "2"
    cluster.start_worker()
    job = jobs.wait(name)
    assert jobs.state(job) == "SUCCEEDED" and job.resumed_from_step > 0
    notices = [event.notice.message for event in jobs.events(name) if event.HasField("notice")]
    assert len(notices) == 1 and "1 threads" in notices[0] and "2 threads" in notices[0]
    # Progress goes to standard error.
    assert f"warning: {notices[0]}" in cluster.run("jobs", "watch", name.removeprefix("finetuneJobs/")).stderr


def test_training_under_load_gives_the_same_bytes(cluster, module):
    jobs = Jobs(cluster.ports, module)
    alone = jobs.wait(submit(jobs, "alone"))
    assert jobs.state(alone) == "SUCCEEDED", alone.error

    messages = module("inference_service_pb2")
    stub = module("inference_service_pb2_grpc").InferenceServiceStub(jobs.channel)
    request = messages.ClassifyRequest(adapter="alone", texts=["the invoice was late again"] * 16)
    # From before the job to behind its end, calls wait: however quick it is, every slice of it has a choice before it.
    waiting = collections.deque(stub.Classify.future(request, timeout=60) for _ in range(16))
    trained, meanwhile = metric(cluster.ports["worker_metrics"], "tenon_worker_train_steps_total"), 0
    loaded = jobs.get(submit(jobs, "loaded"))
    while waiting:
        assert len(waiting.popleft().result().classifications) == 16
        meanwhile += jobs.state(loaded) == "RUNNING"
        if jobs.state(loaded) not in FINAL:
            waiting.append(stub.Classify.future(request, timeout=60))
            loaded = jobs.get(loaded.name)
    assert jobs.state(loaded) == "SUCCEEDED", loaded.error
    assert meanwhile > 0, "no call was answered while the job ran"
    assert metric(cluster.ports["worker_metrics"], "tenon_worker_train_steps_total") - trained == STEPS
    key = "adapter_model.safetensors"
    assert jobs.files(loaded.result.adapter_revision)[key] == jobs.files(alone.result.adapter_revision)[key]
