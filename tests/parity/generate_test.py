"""Generation against transformers' generate(): token for token on a model whose logits are the same numbers in both."""

import itertools
import json
import os
import pathlib
import random
import subprocess

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("scipy.stats")
from sampling import DRAWS, SAMPLING, assert_distribution  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
VOCAB, PLACES, SOURCES = 48, 64, 16
START, EOS, PAD = 2, 1, 0
PROMPTS = 200


class Tool:
    """tests/parity/generate_tool.cc as a child process."""

    def __init__(self):
        program = os.environ.get("TENON_GENERATE_TOOL", str(ROOT / "build/release/bin/tenon-generate-tool"))
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, cmd, **fields):
        self.process.stdin.write(json.dumps({"cmd": cmd, **fields}) + "\n")
        self.process.stdin.flush()
        reply = json.loads(self.process.stdout.readline())
        assert "error" not in reply, reply
        return reply

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)


class ToyConfig(transformers.PretrainedConfig):
    model_type = "tenon_toy"

    def __init__(self, **fields):
        super().__init__(is_encoder_decoder=True, **fields)
        self.vocab_size = VOCAB


class ToyEncoder(torch.nn.Module):
    main_input_name = "input_ids"

    def forward(self, input_ids, attention_mask=None, **_):
        kind = (input_ids.sum(1) % SOURCES).float()
        return transformers.modeling_outputs.BaseModelOutput(last_hidden_state=kind[:, None, None])


class Toy(transformers.PreTrainedModel, transformers.GenerationMixin):
    """The tables of tests/worker/engine/generate/toy_decoder.h as a model of transformers."""

    config_class = ToyConfig
    main_input_name = "input_ids"

    def __init__(self, tables):
        super().__init__(ToyConfig())
        self.encoder = ToyEncoder()
        self.out = torch.nn.Linear(1, 1)
        self.last, self.before, self.place, self.source = tables
        self.generation_config = transformers.GenerationConfig(
            eos_token_id=EOS, pad_token_id=PAD, decoder_start_token_id=START, use_cache=False)

    def get_encoder(self, modality=None):
        return self.encoder

    def forward(self, input_ids=None, encoder_outputs=None, decoder_input_ids=None, **_):
        kind = encoder_outputs[0][:, 0, 0].long()
        t = decoder_input_ids[:, -1]
        u = decoder_input_ids[:, -2] if decoder_input_ids.shape[1] > 1 else t
        place = self.place[decoder_input_ids.shape[1] % PLACES]
        logits = ((self.last[t] + self.before[u]) + place) + self.source[kind]
        return transformers.modeling_outputs.Seq2SeqLMOutput(logits=logits[:, None], encoder_last_hidden_state=encoder_outputs[0])


def make_tables(seed, eos_bias):
    draw = torch.Generator().manual_seed(seed)
    tables = [torch.randn(rows, VOCAB, generator=draw) for rows in (VOCAB, VOCAB, PLACES, SOURCES)]
    tables[3][:, EOS] += eos_bias
    return tables


@pytest.fixture(scope="module", params=[0, 1], ids=["sharp", "ending"])
def pair(request, tmp_path_factory):
    """Our tool and transformers with the same tables: replies that mostly reach their length, or that end early."""
    tables = make_tables(seed=request.param, eos_bias=[0.0, 2.5][request.param])
    file = tmp_path_factory.mktemp("toy") / "tables"
    file.write_bytes(b"".join(table.numpy().tobytes() for table in tables))
    tool = Tool()
    tool("toy", file=str(file), vocab=VOCAB)
    model = Toy(tables).eval()
    model.extras = [["plain", "n-grams"], ["sequences", "long"]][request.param]
    yield tool, model
    tool.close()


def prompts(seed=0, count=PROMPTS):
    draw = random.Random(seed)
    return [[draw.randrange(3, VOCAB) for _ in range(6)] for _ in range(count)]


def ours(tool, requests, **fields):
    """`requests` are (source, options) pairs."""
    wanted = []
    for source, options in requests:
        options = dict(options)
        extra = {key: options.pop(key) for key in ("do_sample", "seed") if key in options}
        wanted.append({"source": source, "prefix": [START], "options": options, **extra})
    base = {"eos_token_id": EOS, "pad_token_id": PAD, "decoder_start_token_id": START}
    return tool("generate", base=base, requests=wanted, **fields)["replies"]


def cut(row, eos=(EOS,)):
    ends = [i for i, token in enumerate(row) if token in eos]
    return row[: ends[0] + 1] if ends else row


def theirs(model, sources, options):
    """For each source its sequences as (tokens, score, log-probabilities); scores of beams alone, the latter of one line alone."""
    eos = options.get("eos_token_id", EOS)
    eos = tuple(eos) if isinstance(eos, list) else (eos,)
    with torch.no_grad():
        out = model.generate(torch.tensor(sources), **options, output_scores=True, return_dict_in_generate=True)
    rows = [cut(row, eos) for row in out.sequences[:, 1:].tolist()]
    beams = options.get("num_beams", 1) > 1
    scores = out.sequences_scores.tolist() if beams else [None] * len(rows)
    lines = out.beam_indices if beams else None
    steps = model.compute_transition_scores(out.sequences, out.scores, lines, normalize_logits=not beams).tolist()
    each = options.get("num_return_sequences", 1)
    triples = [(row, score, step[: len(row)]) for row, score, step in zip(rows, scores, steps)]
    return [triples[i : i + each] for i in range(0, len(triples), each)]


def assert_equal(reply, expected, what):
    assert "error" not in reply, (what, reply)
    got = reply["sequences"]
    assert [one["tokens"] for one in got] == [row for row, _, _ in expected], what
    for one, (row, score, steps) in zip(got, expected):
        assert one["reason"] == ("eos" if row[-1] == EOS else "length") or what[1].get("eos_token_id")
        np.testing.assert_allclose(one["log_probs"], steps, rtol=1e-5, atol=1e-5, err_msg=str(what))
        if score is not None:
            assert one["score"] == pytest.approx(score, abs=1e-5), what


LENGTH = {"max_new_tokens": 20}
GREEDY = {
    "plain": {},
    "default length": {"max_new_tokens": None},
    "max_length": {"max_new_tokens": None, "max_length": 9},
    "one token": {"max_new_tokens": 1},
    "min_length": {"min_length": 9},
    "min_new_tokens": {"min_new_tokens": 9},
    "repetition": {"repetition_penalty": 1.7},
    "reward repetition": {"repetition_penalty": 0.6},
    "unigrams": {"no_repeat_ngram_size": 1},
    "bigrams": {"no_repeat_ngram_size": 2},
    "trigrams": {"no_repeat_ngram_size": 3, "max_new_tokens": 40},
    "bad words": {"bad_words_ids": [[EOS], [7], [9, 11], [5, 6, 4], [12, 13, 14]] + [[i, (i * 7) % VOCAB] for i in range(2, VOCAB)]},
    "forced bos": {"forced_bos_token_id": 17},
    "forced eos": {"forced_eos_token_id": EOS, "max_new_tokens": 8},
    "several eos": {"eos_token_id": [EOS, 8, 21]},
    "suppressed": {"suppress_tokens": [3, 4, 5, 6, 30, 31], "begin_suppress_tokens": [EOS, 9, 10, 11]},
    "forced and suppressed": {"forced_bos_token_id": 17, "begin_suppress_tokens": [EOS, 18, 19, 20, 21, 22]},
    "all": {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2, "min_new_tokens": 5, "bad_words_ids": [[6], [9, 10]],
            "forced_bos_token_id": 17, "forced_eos_token_id": EOS},
}
BEAM_EXTRAS = {
    "plain": {},
    "sequences": {"num_return_sequences": 3},
    "n-grams": {"no_repeat_ngram_size": 2, "num_return_sequences": 2},
    "long": {"min_length": 10, "repetition_penalty": 1.4},
}


def options_of(extra):
    return {key: value for key, value in {**LENGTH, **extra}.items() if value is not None}


@pytest.mark.parametrize("name", GREEDY)
def test_greedy(pair, name):
    tool, model = pair
    options, sources = options_of(GREEDY[name]), prompts()
    replies = ours(tool, [(source, options) for source in sources])
    for source, reply, expected in zip(sources, replies, theirs(model, sources, options)):
        assert_equal(reply, expected, (source, options))


@pytest.mark.parametrize("penalty", [0.6, 1.0, 2.0])
@pytest.mark.parametrize("early", [False, True, "never"])
@pytest.mark.parametrize("beams", [4, 5, 8])
def test_beams(pair, beams, early, penalty):
    tool, model = pair
    sources = prompts()
    for extra in model.extras:
        options = {**options_of(BEAM_EXTRAS[extra]), "num_beams": beams, "early_stopping": early, "length_penalty": penalty}
        replies = ours(tool, [(source, options) for source in sources])
        for source, reply, expected in zip(sources, replies, theirs(model, sources, options)):
            assert_equal(reply, expected, (source, options))


@pytest.mark.parametrize("name", GREEDY)
def test_beams_with_every_option(pair, name):
    tool, model = pair
    options = {**options_of(GREEDY[name]), "num_beams": 3, "num_return_sequences": 2}
    if name in ("one token", "unigrams"):
        options["num_return_sequences"] = 1
    sources = prompts()
    replies = ours(tool, [(source, options) for source in sources])
    for source, reply, expected in zip(sources, replies, theirs(model, sources, options)):
        assert_equal(reply, expected, (source, options))


@pytest.mark.parametrize("penalty", [-1.0, 0.0])
def test_beams_that_like_short_replies(pair, penalty):
    tool, model = pair
    sources = prompts()
    for early in (False, True, "never"):
        options = {**LENGTH, "num_beams": 4, "length_penalty": penalty, "early_stopping": early}
        replies = ours(tool, [(source, options) for source in sources])
        for source, reply, expected in zip(sources, replies, theirs(model, sources, options)):
            assert_equal(reply, expected, (source, options))


@pytest.mark.parametrize("join", [1, 3])
def test_a_mixed_batch(pair, join):
    """Greedy, beams and samples of all kinds beside each other, joining and leaving: each gives what transformers gives alone."""
    tool, model = pair
    draw = random.Random(4)
    kinds = [options_of(extra) for name, extra in GREEDY.items()]
    kinds += [{**options_of(extra), "num_beams": beams, "early_stopping": early}
              for extra, beams, early in itertools.product(BEAM_EXTRAS.values(), (4, 5), (False, True))]
    kinds += [{**LENGTH, "do_sample": True, "num_return_sequences": 3, "seed": seed} for seed in range(4)]
    requests = [(source, draw.choice(kinds)) for source in prompts(seed=5)]
    replies = ours(tool, requests, join=join, max_lines=40)
    alone = ours(tool, requests, join=1, max_lines=8)  # hardly anybody beside
    for request, reply, lone in zip(requests, replies, alone):
        assert reply == lone, request
        if not request[1].get("do_sample"):
            assert_equal(reply, theirs(model, [request[0]], request[1])[0], request)


@pytest.mark.parametrize("name", SAMPLING)
def test_samples_have_the_distribution_of_transformers(pair, name):
    tool, model = pair
    source = prompts(seed=6)[0]
    assert_distribution(model, source, SAMPLING[name], lambda options: ours(tool, [(source, options)], max_lines=DRAWS)[0]["sequences"],
                        start=START, eos=EOS)


def test_the_next_seed_draws_others(pair):
    tool, _ = pair
    options = {"max_new_tokens": 10, "top_k": 0, "do_sample": True, "num_return_sequences": 4}
    source = prompts()[0]
    one, other, again = ours(tool, [(source, {**options, "seed": seed}) for seed in (1, 2, 1)])
    assert one == again and one != other
    assert len({tuple(sequence["tokens"]) for sequence in one["sequences"]}) == 4
