"""Answers to questions against transformers, PEFT and the rules of SQuAD's script."""

import json
import random
import re
import string
from collections import Counter

import numpy as np
import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")

from engine_test import engine, make_base, text  # noqa: E402, F401
from families import CLASSIFIERS, FAMILIES  # noqa: E402
from tokens_test import METHOD_RATES, head_class, lone_logits, losses_of, no_dropout, run, tuned, with_head, write_rows  # noqa: E402
from train_test import ToolError, assert_losses, run_tool  # noqa: E402


def answer_loss(model, tokenizer, rows):
    """transformers' own, but among each row's own tokens: theirs depends on how far a batch is padded."""
    batch = tokenizer.pad([{"input_ids": row["ids"], "token_type_ids": row["types"]} for row in rows], return_tensors="pt")
    if model.config.model_type != "bert":
        del batch["token_type_ids"]
    output = run(model, **batch)
    far = (1 - batch["attention_mask"]).bool()
    losses = [torch.nn.functional.cross_entropy(logits.masked_fill(far, float("-inf")), torch.tensor([row[side] for row in rows]))
              for logits, side in ((output.start_logits, "start"), (output.end_logits, "end"))]
    return sum(losses) / 2


def asked_rows(count, seed, longest=60, nothing=0.25):
    """Questions with an answer that is a run of the context's words, or none."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        words = text(draw, draw.randint(3, longest)).split()
        first = draw.randrange(len(words))
        last = min(first + draw.randint(0, 3), len(words) - 1)
        context = " ".join(words)
        begin = len(" ".join(words[:first])) + (first > 0)
        answer = " ".join(words[first:last + 1])
        rows.append({"question": text(draw, draw.randint(1, 6)), "context": context,
                     "answers": [] if draw.random() < nothing else [{"text": answer, "begin": begin}]})
    return rows


def features(tokenizer, rows, room, stride):
    """transformers' example, run_qa.py: windows, and the tokens that an answer begins and ends at."""
    made = []
    for index, row in enumerate(rows):
        # Its windows may share half of what the question leaves.
        around = len(tokenizer(row["question"], "")["input_ids"])
        share = min(stride, (room - around) // 2)
        windows = tokenizer(row["question"], row["context"], truncation="only_second", max_length=room, stride=share,
                            return_overflowing_tokens=True, return_offsets_mapping=True, return_token_type_ids=True)
        for w, ids in enumerate(windows["input_ids"]):
            offsets, sequence = windows["offset_mapping"][w], windows.sequence_ids(w)
            start = end = 0
            if row["answers"]:
                first, last = row["answers"][0]["begin"], row["answers"][0]["begin"] + len(row["answers"][0]["text"])
                low, high = sequence.index(1), len(sequence) - 1 - sequence[::-1].index(1)
                if offsets[low][0] <= first and offsets[high][1] >= last:
                    while low < len(offsets) and offsets[low][0] <= first and sequence[low] == 1:
                        low += 1
                    while offsets[high][1] >= last and sequence[high] == 1:
                        high -= 1
                    start, end = low - 1, high + 1
            made.append({"example": index, "ids": ids, "types": windows["token_type_ids"][w], "offsets": offsets, "sequence": sequence,
                         "start": start, "end": end})
    return made


def question_data(folder, train, validation=()):
    return write_rows(folder, questions=True, train=train, validation=list(validation))


@pytest.mark.parametrize("family, method", [*((family, "lora") for family in CLASSIFIERS), ("bert", "full")])
def test_losses_of_answers_equal_peft(engine, tmp_path, family, method):  # noqa: F811
    folder, _, tokenizer = make_base(tmp_path / "base", family=family, **no_dropout(family))
    if family != "bert":
        file = folder / "tokenizer_config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "model_input_names": ["input_ids", "attention_mask"]}))
    rows = asked_rows(24, seed=3)
    made = features(tokenizer, rows, room=40, stride=12)
    assert len(made) > len(rows) + 5
    if method == "full":
        model, options = with_head(folder, "answers"), dict(method="full")
        import safetensors.torch
        (tmp_path / "initial").mkdir()
        safetensors.torch.save_file({f"classifier.{n}": p.detach().clone() for n, p in model.qa_outputs.named_parameters()},
                                    tmp_path / "initial/head.safetensors")
        (tmp_path / "initial/tenon.json").write_text(json.dumps({"task": "question_answering", "method": "head", "labels": ["start", "end"], "base_digest": ""}))
    else:
        model = tuned(folder, "answers", family)
        model.save_pretrained(tmp_path / "initial")
        options = dict(r=4, alpha=8, target_modules=FAMILIES[family].lora({"names": ["query", "value"]})["names"])
    rate = METHOD_RATES[method]
    theirs = losses_of(model, lambda part: answer_loss(model, tokenizer, part), made, rate=rate)
    lines = run_tool(tmp_path, {"base": folder, "out": tmp_path / "out", "initial": tmp_path / "initial",
                                "options": dict(shuffle=False, max_steps=20, learning_rate=rate, max_input_tokens=40, doc_stride=12, **options),
                                "data": question_data(tmp_path, rows, rows[:9])})
    assert_losses([step["loss"] for step in lines["progress"]], theirs)
    if method == "full":
        opened = head_class("answers").from_pretrained(tmp_path / "out").eval()
        assert type(opened).__name__ == "BertForQuestionAnswering"
    else:
        opened = peft.PeftModel.from_pretrained(with_head(folder, "answers", seed=9), tmp_path / "out").eval()
    ids = made[0]["ids"]
    # Up to a constant for each side: no loss of places depends on the head's bias, so that rounding alone decides where AdamW moves it.
    ours, wanted = (logits - logits.mean(0) for logits in (lone_logits(opened, "answers", ids), lone_logits(model, "answers", ids)))
    np.testing.assert_allclose(ours, wanted, atol=5e-3)
    # The metrics are SQuAD 2's, of what the model says.
    found = lines["evaluation"][-1]["metrics"]
    predicted = [best_answer(opened, family, rows[:9], features(tokenizer, rows[:9], 40, 12), i, threshold=0.0)[0] for i in range(9)]
    gold = [[answer["text"] for answer in row["answers"]] or [""] for row in rows[:9]]
    assert found["exact_match"] == pytest.approx(np.mean([max(squad_exact(g, p) for g in golds) for golds, p in zip(gold, predicted)]))
    assert found["f1"] == pytest.approx(np.mean([max(squad_f1(g, p) for g in golds) for golds, p in zip(gold, predicted)]))


def best_answer(model, family, rows, made, index, longest=30, threshold=None):
    """transformers' example, utils_qa.py: (answer, probability, none's score less the best one's)."""
    found, none = {}, None
    context = rows[index]["context"]
    for one in made:
        if one["example"] != index:
            continue
        logits = lone_logits(model, "answers", one["ids"], one["types"] if family == "bert" else None)
        none = logits[0].sum() if none is None else min(none, logits[0].sum())
        # Theirs may spend some of the best 20 on tokens that are no context.
        starts, ends = ([i for i in np.argsort(logits[:, side])[::-1] if one["sequence"][i] == 1][:20] for side in (0, 1))
        for start in starts:
            for end in ends:
                if start <= end < start + longest:
                    place = one["offsets"][start][0], one["offsets"][end][1]
                    found[place] = max(found.get(place, -1e9), logits[start, 0] + logits[end, 1])
    best = sorted(found, key=found.get, reverse=True)[:20]
    scores = np.array([found[place] for place in best] + ([none] if threshold is not None else []))
    shares = np.exp(scores - scores.max())
    gap = none - found[best[0]]
    said = "" if threshold is not None and gap > threshold else context[best[0][0]:best[0][1]]
    return said, (shares / shares.sum())[0], gap, best[0]


def squad_words(text_):
    plain = "".join(c for c in text_.lower() if c not in set(string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", plain).split()


def squad_exact(gold, said):
    return float(squad_words(gold) == squad_words(said))


def squad_f1(gold, said):
    a, b = squad_words(gold), squad_words(said)
    if not a or not b:
        return float(a == b)
    same = sum((Counter(a) & Counter(b)).values())
    return 2 * same / (len(a) + len(b)) if same else 0.0


@pytest.mark.parametrize("family", CLASSIFIERS)
def test_answers_equal_transformers_example(engine, tmp_path, family):  # noqa: F811
    folder, _, tokenizer = make_base(tmp_path / "base", family=family)
    if family != "bert":
        file = folder / "tokenizer_config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "model_input_names": ["input_ids", "attention_mask"]}))
    model = tuned(folder, "answers", family)
    model.save_pretrained(tmp_path / "a")
    engine("base", folder=folder)
    engine("adapter", name="a", folder=tmp_path / "a")
    rows = asked_rows(20, seed=6)
    made = features(tokenizer, rows, room=40, stride=12)
    ask = [{"question": row["question"], "context": row["context"]} for row in rows]
    for threshold in (None, 0.0, -3.0):
        more = {} if threshold is None else {"threshold": threshold}
        ours = engine("answers", adapter="a", rows=ask, max_tokens=40, doc_stride=12, **more)["rows"]
        for i, mine in enumerate(ours):
            assert mine["windows"] == [one["ids"] for one in made if one["example"] == i]
            said, share, gap, place = best_answer(model, family, rows, made, i, threshold=threshold)
            assert mine["best"][0][:2] == list(place)  # these contexts are ASCII
            assert mine["none"] == pytest.approx(gap, abs=1e-3) and mine["best"][0][2] == pytest.approx(share, abs=1e-3)
            assert mine["no_answer"] == (said == "")
    short = engine("answers", adapter="a", rows=ask, max_tokens=40, doc_stride=12, max_answer_tokens=2, top_k=5)["rows"]
    for i, mine in enumerate(short):
        assert mine["best"][0][:2] == list(best_answer(model, family, rows, made, i, longest=2)[3])
        scores = [score for _, _, score in mine["best"]]
        assert scores == sorted(scores, reverse=True) and len(scores) <= 5


def test_answer_scores_follow_squads_rules(tmp_path):
    draw = random.Random(2)
    words = ["the", "a", "An", "Tea", "tea,", "U.S.", "“the”", "the-an", "Ünï", "_a_", "1,000", "can't", "theory", "\u2003", "\u00a0x"]
    some = lambda: " ".join(draw.choices(words, k=draw.randint(0, 5)))  # noqa: E731
    truth = [[some() or "tea" for _ in range(draw.randint(1, 3))] if i % 4 else [] for i in range(400)]
    predicted = [draw.choice(golds) if golds and draw.random() < 0.4 else some() for golds in truth]
    scores = run_tool(tmp_path, {"answer_scores": {"truth": truth, "predicted": predicted}})["answer_scores"][0]
    # Answers that leave nothing to compare count as none, as in the script.
    gold = [[g for g in golds if squad_words(g)] or [""] for golds in truth]
    exact = [max(squad_exact(g, p) for g in golds) for golds, p in zip(gold, predicted)]
    f1 = [max(squad_f1(g, p) for g in golds) for golds, p in zip(gold, predicted)]
    assert scores["exact_match"] == pytest.approx(np.mean(exact)) and scores["f1"] == pytest.approx(np.mean(f1))
    with_answer = [i for i, golds in enumerate(truth) if golds]
    assert scores["with_answer"] == pytest.approx([np.mean([exact[i] for i in with_answer]), np.mean([f1[i] for i in with_answer]), len(with_answer)])


def test_a_question_that_does_not_fit_is_named(tmp_path):
    folder, _, _ = make_base(tmp_path / "base")
    train = lambda data, **options: run_tool(tmp_path, {"base": folder, "data": data, "options": dict(max_steps=1, **options)})  # noqa: E731
    asked = asked_rows(4, seed=1)
    with pytest.raises(ToolError) as error:
        train(question_data(tmp_path, [*asked, dict(asked[0], question="tea " * 70)]))
    assert (error.value.reason, error.value.field) == ("TEXT_TOO_LARGE", "train row 5, column question")
    with pytest.raises(ToolError) as error:
        train(question_data(tmp_path, [*asked, dict(asked[0], answers=[{"text": "nowhere", "begin": 0}])]))
    assert (error.value.reason, error.value.field) == ("DATASET_INVALID", "train row 5, column answers")
    with pytest.raises(ToolError) as error:
        train(question_data(tmp_path, asked), crf=True)
    assert error.value.field == "crf"
