"""Retrieval on Cranfield through a live server equals sentence-transformers with exact search."""

import json
import math
import os
import pathlib

import numpy
import pytest
from tenon_process import ROOT, Cluster

SHARED = pathlib.Path(os.environ.get("TENON_SHARED", ROOT.parent / "shared"))
CRANFIELD = SHARED / "data/retrieval/cranfield"


def read(name):
    return [json.loads(line) for line in (CRANFIELD / name).read_text(encoding="utf-8").splitlines()]


def mean_ndcg(ranked, judged, k=10):
    """trec_eval's nDCG@k with linear gain, over the queries that have judgements. `ranked`: ids by query, best first."""
    total = 0.0
    for query, scores in judged.items():
        gain = sum(max(scores.get(id, 0), 0) / math.log2(rank + 2) for rank, id in enumerate(ranked[query][:k]))
        ideal = sum(score / math.log2(rank + 2) for rank, score in enumerate(sorted(scores.values(), reverse=True)[:k]) if score > 0)
        total += gain / ideal if ideal > 0 else 0.0
    return total / len(judged)


def peer_ndcg(minilm, documents, queries, judged):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(minilm), device="cpu")
    encode = lambda rows: model.encode([row["text"] for row in rows], batch_size=32)
    scores = encode(queries) @ encode(documents).T
    ids = numpy.array([row["_id"] for row in documents])
    ranked = {query["_id"]: ids[numpy.argsort(-line, kind="stable")[:10]].tolist() for query, line in zip(queries, scores)}
    return mean_ndcg(ranked, judged)


@pytest.mark.skipif(not CRANFIELD.exists(), reason="shared data set cranfield is missing")
def test_ndcg_equals_sentence_transformers(tmp_path, minilm):
    documents, queries = read("corpus.jsonl"), read("queries.jsonl")
    good = [row for row in documents if row["text"].strip()]
    assert len(documents) - len(good) == 2
    judged = {}
    for line in (CRANFIELD / "qrels.tsv").read_text().splitlines()[1:]:
        query, document, score = line.split("\t")
        judged.setdefault(query, {})[document] = int(score)
    rows = tmp_path / "documents.jsonl"
    rows.write_text("".join(json.dumps({"id": row["_id"], "text": row["text"]}) + "\n" for row in documents), encoding="utf-8")

    with Cluster(tmp_path / "cluster") as cluster:
        cluster.cli("bases", "add", "minilm", minilm)
        cluster.cli("collections", "create", "cranfield", "--base", "minilm")
        # Two rows are refused, which the exit code tells; the others are stored.
        done = cluster.run("documents", "add", "--collection", "cranfield", "--input", rows, "--output", "json")
        assert done.returncode != 0
        report = done.stdout + done.stderr
        for row in documents:
            if not row["text"].strip():
                assert row["_id"] in report and "TEXT_EMPTY" in report
        (collection,) = json.loads(cluster.cli("collections", "list", "--output", "json"))["collections"]
        assert int(collection["documentCount"]) == len(good)
        job = json.loads(cluster.cli("jobs", "evaluate", "--task", "feature_extraction", "--collection", "cranfield", "--queries",
                                     CRANFIELD / "queries.jsonl", "--qrels", CRANFIELD / "qrels.tsv", "--wait", "--output",
                                     "json").splitlines()[-1])
    ours = {metric["name"]: metric["value"] for metric in job["results"][0]["metrics"]}["ndcg@10"]
    theirs = peer_ndcg(minilm, good, queries, judged)
    print(f"nDCG@10: Tenon {ours:.5f}, sentence-transformers {theirs:.5f}")
    assert ours == pytest.approx(theirs, abs=1e-3)
    assert theirs > 0.3
