"""Heads on every token against transformers, PEFT, seqeval and pytorch-crf: logits of both kinds, and tags of words.

Answers to questions have answers_test.py.
"""

import json
import random
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")
seqeval = pytest.importorskip("seqeval.metrics")
torchcrf = pytest.importorskip("torchcrf")

from engine_test import EngineError, engine, make_base, text, texts  # noqa: E402, F401
from families import CLASSIFIERS, FAMILIES  # noqa: E402
from tokenizer_test import shared_file  # noqa: E402
from train_test import NO_DROPOUT, ToolError, assert_losses, run_tool  # noqa: E402

TAGS = ["B-LOC", "B-PER", "I-LOC", "I-PER", "O"]
CLASSES = {"tokens": "AutoModelForTokenClassification", "answers": "AutoModelForQuestionAnswering"}
TASKS = {"tokens": "TOKEN_CLS", "answers": "QUESTION_ANS"}
ALL = dict(NO_DROPOUT, qa_dropout=0.0)


def head_class(kind):
    return getattr(transformers, CLASSES[kind])


def labels_of(kind):
    return len(TAGS) if kind == "tokens" else 2


def with_head(folder, kind, seed=5):
    """A model with a head on every token over the base in `folder`, whose weights show a mistake."""
    model = head_class(kind).from_pretrained(folder, num_labels=labels_of(kind), attn_implementation="eager")
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "classifier" in name or "qa_outputs" in name:
                parameter.normal_(0, 0.3)
    return model.eval()


def tuned(folder, kind, family, seed=1, **config):
    config = config or FAMILIES[family].lora(dict(r=4, lora_alpha=8, target_modules=["query", "value"]))
    base = with_head(folder, kind)
    if "num_virtual_tokens" in config:
        sizes = dict(token_dim=base.config.hidden_size, num_layers=base.config.num_hidden_layers,
                     num_attention_heads=base.config.num_attention_heads)
        model = peft.get_peft_model(base, peft.PromptTuningConfig(task_type=TASKS[kind], **sizes, **config))
    else:
        model = peft.get_peft_model(base, peft.LoraConfig(task_type=TASKS[kind], **config))
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(0, 0.15)
    return model.eval()


def logits_of(output, kind, virtual=0):
    if kind == "tokens":
        return output.logits[0][virtual:].numpy()
    return torch.stack([output.start_logits[0], output.end_logits[0]], -1)[virtual:].numpy()


def run(model, **inputs):
    """PEFT's class for questions leaves token types out on the way to the model; the model within takes them."""
    inner = isinstance(model, peft.PeftModelForQuestionAnswering) and "token_type_ids" in inputs
    return (model.base_model if inner else model)(**inputs)


def lone_logits(model, kind, ids, types=None, virtual=0):
    with torch.no_grad():
        more = {} if types is None else {"token_type_ids": torch.tensor([types])}
        return logits_of(run(model, input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), **more), kind, virtual)


def assert_token_logits(ours, theirs):
    for row, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        np.testing.assert_allclose(np.asarray(a).reshape(b.shape), b, atol=1e-4, err_msg=f"row {row}")


def some_ids(tokenizer, count=12):
    return [tokenizer(t, truncation=True, max_length=56)["input_ids"] for t in texts(count, seed=4)]


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("family", CLASSIFIERS)
def test_a_base_with_a_head_of_its_own(engine, tmp_path, family, kind):  # noqa: F811
    folder, _, tokenizer = make_base(tmp_path / "plain", family=family)
    model = with_head(folder, kind)
    if kind == "tokens":
        model.config.id2label = dict(enumerate(TAGS))
        model.config.label2id = {tag: i for i, tag in enumerate(TAGS)}
    shutil.copytree(folder, tmp_path / "base")
    model.save_pretrained(tmp_path / "base")
    engine("base", folder=tmp_path / "base")
    rows = some_ids(tokenizer)
    assert_token_logits(engine.infer([{"ids": ids, "output": "tokens"} for ids in rows]), [lone_logits(model, kind, ids) for ids in rows])
    with pytest.raises(EngineError) as error:
        engine.infer([{"text": "tea", "output": "logits"}])
    assert error.value.reason == "NO_CLASSIFIER"


# PEFT itself fails where a LoRA meets a head that it trains whole.
METHODS = {"lora": {}, "all-linear": dict(r=3, lora_alpha=6, target_modules="all-linear", exclude_modules=["classifier", "qa_outputs"]),
           "prompt": dict(num_virtual_tokens=5)}


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("family", CLASSIFIERS)
def test_adapters_of_peft_in_one_batch(engine, tmp_path, family, kind):  # noqa: F811
    """With a classifier of whole rows among them; and what we write opens in PEFT."""
    folder, _, tokenizer = make_base(tmp_path / "base", family=family)
    engine("base", folder=folder)
    rows = some_ids(tokenizer)
    theirs = {}
    for name, config in METHODS.items():
        model = tuned(folder, kind, family, **config)
        model.save_pretrained(tmp_path / name)
        loaded = engine("adapter", name=name, folder=tmp_path / name)
        assert loaded["config"]["task"] == {"tokens": "token_classification", "answers": "question_answering"}[kind]
        theirs[name] = [lone_logits(model, kind, ids, virtual=config.get("num_virtual_tokens", 0)) for ids in rows]
        (tmp_path / f"{name}-again").mkdir()
        engine("write", name=name, folder=(tmp_path / f"{name}-again"))
        again = peft.PeftModel.from_pretrained(with_head(folder, kind, seed=9), tmp_path / f"{name}-again").eval()
        np.testing.assert_allclose(lone_logits(again, kind, rows[0], virtual=config.get("num_virtual_tokens", 0)), theirs[name][0], atol=1e-5)
    names = [list(METHODS)[i % 3] for i in range(len(rows))]
    ours = engine.infer([{"ids": ids, "adapter": name, "output": "tokens"} for ids, name in zip(rows, names)] + [{"ids": rows[0]}])
    assert_token_logits(ours[:-1], [theirs[name][i] for i, name in enumerate(names)])
    assert len(ours[-1]) == 48


def tagged_rows(count, seed, longest=12):
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        words, tags = [], []
        while len(words) < longest and (not words or draw.random() < 0.8):
            kind = draw.choice(["O", "O", "PER", "LOC"])
            for i in range(1 if kind == "O" else draw.randint(1, 3)):
                words.append(draw.choice(text(draw, 6).split() + ["unheardof", "x1"]))
                tags.append("O" if kind == "O" else f"{'I' if i else 'B'}-{kind}")
        rows.append((words, tags))
    return rows


def encode_tags(tokenizer, rows):
    batch = tokenizer([words for words, _ in rows], is_split_into_words=True, padding=True, return_tensors="pt", return_token_type_ids=False)
    labels = []
    for i, (_, tags) in enumerate(rows):
        ids, last = [], None
        for word in batch.word_ids(i):
            ids.append(-100 if word is None or word == last else TAGS.index(tags[word]))
            last = word
        labels.append(ids)
    return batch, torch.tensor(labels)


def tag_loss(model, tokenizer, rows):
    batch, labels = encode_tags(tokenizer, rows)
    return model(**batch, labels=labels).loss


def losses_of(model, loss_of, rows, steps=20, batch=8, rate=1e-3):
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate, weight_decay=0.0)
    scheduler = transformers.get_scheduler("linear", optimizer, num_warmup_steps=0, num_training_steps=steps)
    losses, place = [], 0
    for _ in range(steps):
        loss = loss_of(rows[place:place + batch])
        place = 0 if place + batch >= len(rows) else place + batch
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    model.eval()
    return losses


def write_rows(folder, **data):
    file = folder / "data.json"
    file.write_text(json.dumps(data))
    return file


def tag_data(folder, train, validation=()):
    rows = lambda some: [{"words": words, "tags": [TAGS.index(tag) for tag in tags]} for words, tags in some]  # noqa: E731
    return write_rows(folder, tags=TAGS, train=rows(train), validation=rows(validation))


def no_dropout(family):
    return {key: value for key, value in ALL.items() if family == "distilbert" or key != "qa_dropout"}


METHOD_RATES = {"lora": 1e-3, "prompt_tuning": 1e-2, "full": 2e-4}


@pytest.mark.parametrize("family, method", [*((family, "lora") for family in CLASSIFIERS), ("bert", "full")])
def test_losses_of_tags_equal_peft(engine, tmp_path, family, method):  # noqa: F811
    folder, _, tokenizer = make_base(tmp_path / "base", family=family, **no_dropout(family))
    rows = tagged_rows(40, seed=3)
    if method == "full":
        model = with_head(folder, "tokens")
        options = dict(method="full")
        # Its beginning: a head alone.
        peft.get_peft_model(with_head(folder, "tokens"), peft.LoraConfig(task_type="TOKEN_CLS", r=1, target_modules=["query"])).save_pretrained(tmp_path / "lora")
        engine("base", folder=folder)
        import safetensors.torch
        (tmp_path / "initial").mkdir()
        safetensors.torch.save_file({f"classifier.{n}": p.detach().clone() for n, p in model.classifier.named_parameters()},
                                    tmp_path / "initial/head.safetensors")
        (tmp_path / "initial/tenon.json").write_text(json.dumps({"task": "token_classification", "method": "head", "labels": TAGS, "base_digest": ""}))
    else:
        model = tuned(folder, "tokens", family)
        model.save_pretrained(tmp_path / "initial")
        options = dict(r=4, alpha=8, target_modules=FAMILIES[family].lora({"names": ["query", "value"]})["names"])
    rate = METHOD_RATES[method]
    theirs = losses_of(model, lambda part: tag_loss(model, tokenizer, part), rows, rate=rate)
    lines = run_tool(tmp_path, {"base": folder, "out": tmp_path / "out", "initial": tmp_path / "initial",
                                "options": dict(shuffle=False, max_steps=20, learning_rate=rate, **options),
                                "data": tag_data(tmp_path, rows, rows[:9])})
    assert_losses([step["loss"] for step in lines["progress"]], theirs)
    assert lines["done"][0]["trainable_parameters"] == sum(p.numel() for p in model.parameters() if p.requires_grad)
    if method == "full":
        opened = head_class("tokens").from_pretrained(tmp_path / "out").eval()
        assert [opened.config.id2label[i] for i in range(len(TAGS))] == TAGS and type(opened).__name__ == "BertForTokenClassification"
        engine("base", folder=tmp_path / "out")
        ids = some_ids(tokenizer, 4)
        assert_token_logits(engine.infer([{"ids": row, "output": "tokens"} for row in ids]), [lone_logits(opened, "tokens", row) for row in ids])
    else:
        opened = peft.PeftModel.from_pretrained(with_head(folder, "tokens", seed=9), tmp_path / "out").eval()
    ids = some_ids(tokenizer, 1)[0]
    np.testing.assert_allclose(lone_logits(opened, "tokens", ids), lone_logits(model, "tokens", ids), atol=5e-3)
    # The metrics are seqeval's, of what the model says.
    found = lines["evaluation"][-1]["metrics"]
    predicted = []
    for words, _ in rows[:9]:
        batch, labels = encode_tags(tokenizer, [(words, ["O"] * len(words))])
        with torch.no_grad():
            said = opened(**batch).logits[0].argmax(-1)
        predicted.append([TAGS[tag] for tag, label in zip(said.tolist(), labels[0].tolist()) if label != -100])
    truth = [tags for _, tags in rows[:9]]
    for name in ("precision", "recall", "f1"):
        assert found[name] == pytest.approx(getattr(seqeval, f"{name}_score")(truth, predicted), abs=1e-6)
    assert found["accuracy"] == pytest.approx(seqeval.accuracy_score(truth, predicted), abs=1e-6)


def test_scores_equal_seqeval(tmp_path):
    """Of any tags, sequences that are no BIO among them."""
    draw = random.Random(1)
    kinds = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-a-b", "I-a-b"]
    truth = [[draw.choice(kinds) for _ in range(draw.randint(1, 12))] for _ in range(400)]
    predicted = [[tag if draw.random() < 0.7 else draw.choice(kinds) for tag in row] for row in truth]
    scores = run_tool(tmp_path, {"tag_scores": {"truth": truth, "predicted": predicted}})["tag_scores"][0]
    for name in ("precision", "recall", "f1"):
        assert scores[name] == pytest.approx(getattr(seqeval, f"{name}_score")(truth, predicted), abs=1e-9)
    assert scores["accuracy"] == pytest.approx(seqeval.accuracy_score(truth, predicted), abs=1e-9)
    report = seqeval.classification_report(truth, predicted, output_dict=True)
    for kind, (precision, recall, f1, support) in scores["types"].items():
        theirs = report[kind]
        assert (precision, recall, f1, support) == pytest.approx((theirs["precision"], theirs["recall"], theirs["f1-score"], theirs["support"]), abs=1e-9)


def window_tags(model, tokenizer, words):
    batch, labels = encode_tags(tokenizer, [(words, ["O"] * len(words))])
    with torch.no_grad():
        shares = model(**batch).logits[0].softmax(-1)
    return [(TAGS[row.argmax()], row.max().item()) for row, label in zip(shares, labels[0].tolist()) if label != -100]


def test_words_of_a_text_that_is_too_long_have_windows(engine, tmp_path):  # noqa: F811
    folder, _, tokenizer = make_base(tmp_path / "base")
    engine("base", folder=folder)
    model = tuned(folder, "tokens", "bert")
    model.save_pretrained(tmp_path / "a")
    (tmp_path / "a/tenon.json").write_text(json.dumps({"task": "token_classification", "method": "lora", "labels": TAGS, "base_digest": ""}))
    engine("adapter", name="a", folder=tmp_path / "a")
    rows = [words for words, _ in tagged_rows(12, seed=8)]
    ours = engine("tags", adapter="a", words=rows)
    assert ours["windows"] == [1] * len(rows)
    for mine, words in zip(ours["rows"], rows):
        theirs = window_tags(model, tokenizer, words)
        assert [tag for tag, _ in mine] == [tag for tag, _ in theirs]
        np.testing.assert_allclose([score for _, score in mine], [score for _, score in theirs], atol=1e-4)
    long = [word for words in rows for word in words]
    reply = engine("tags", adapter="a", words=[long], max_tokens=40)
    assert len(reply["rows"][0]) == len(long) and reply["windows"][0] > 2
    # The first words stand in the first window alone, which ends where the next word does not fit.
    room, first = 38, []
    for word in long:
        if sum(len(tokenizer.tokenize(w)) for w in [*first, word]) > room:
            break
        first.append(word)
    theirs = window_tags(model, tokenizer, first)
    safe = len(first) // 2
    assert [tag for tag, _ in reply["rows"][0][:safe]] == [tag for tag, _ in theirs[:safe]]
    # A word that is more than a window is read by its first tokens.
    assert len(engine("tags", adapter="a", words=[["unheardof" * 30, "tea"]], max_tokens=16)["rows"][0]) == 2


HARD = ["Ünï cödé “quotes” — it's 1990s, 中文字 tea's e\u0301 ﬁne \u200b x\ufffd İstanbul", "a  b\tc\n d", "$5.00 (US) re-do [SEP] end",
        "👩🏽‍🚀 flies", "naïve café résumé", "ＦＵＬＬ ｗｉｄｔｈ", "e\u0327\u0301a\u0301 \u0301alone", "don't he'll"]


def bytes_of(text, pairs):
    place = [len(text[:i].encode()) for i in range(len(text) + 1)]
    return [[place[a], place[b]] for a, b in pairs]


def test_places_of_tokens_equal_wordpiece(engine, tmp_path):  # noqa: F811
    folder, _, _ = make_base(tmp_path / "base", vocab_size=30522)
    shutil.copy(shared_file("tokenizers/bert_base_uncased_vocab.txt"), folder / "vocab.txt")
    (folder / "tokenizer.json").unlink()
    tokenizer = transformers.BertTokenizerFast(vocab=str(folder / "vocab.txt"), do_lower_case=True)
    tokenizer.save_pretrained(folder)
    engine("base", folder=folder)
    check_places(engine, tokenizer, HARD + texts(50, seed=2), words=True)


def check_places(engine, tokenizer, some, words):  # noqa: F811
    for one, ours in zip(some, engine("places", texts=some)["rows"], strict=True):
        theirs = tokenizer(one, add_special_tokens=False, return_offsets_mapping=True)
        assert ours["ids"] == theirs["input_ids"], one
        assert ours["places"] == bytes_of(one, theirs["offset_mapping"]), one
    if words:
        pieces = sorted({word for one in some for word in one.split()})
        for word, ids in zip(pieces, engine("word_ids", words=pieces)["rows"], strict=True):
            assert ids == tokenizer([word], is_split_into_words=True, add_special_tokens=False)["input_ids"], word


@pytest.mark.parametrize("prefix", [False, True])
def test_places_of_tokens_equal_byte_level(engine, tmp_path, prefix):  # noqa: F811
    folder, _, _ = make_base(tmp_path / "base", family="roberta", vocab_size=50270, max_position_embeddings=64)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)
    vocab = json.loads(shared_file("tokenizers/gpt2_vocab.json").read_text(encoding="utf-8"))
    vocab.update({token: len(vocab) + i for i, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])})
    (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    shutil.copy(shared_file("tokenizers/gpt2_merges.txt"), folder / "merges.txt")
    made = transformers.RobertaTokenizerFast(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), add_prefix_space=prefix)
    made.save_pretrained(folder)
    engine("base", folder=folder)
    check_places(engine, made, HARD + texts(50, seed=2), words=prefix)
    if not prefix:
        # A word is encoded as behind a blank, whatever the tokenizer does at a text's beginning.
        spaced = transformers.RobertaTokenizerFast(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), add_prefix_space=True)
        words = ["tea", "Café", "don't", "x1"]
        assert engine("word_ids", words=words)["rows"] == [spaced([word], is_split_into_words=True, add_special_tokens=False)["input_ids"] for word in words]


def chain_of(folder, seed=7):
    torch.manual_seed(seed)
    chain = torchcrf.CRF(len(TAGS), batch_first=True)
    with torch.no_grad():
        for parameter in chain.parameters():
            parameter.normal_(0, 1.0)
    return chain


def add_chain(folder, chain):
    """Beside a LoRA of PEFT's, as we write it."""
    import safetensors.torch
    file = folder / "adapter_model.safetensors"
    tensors = safetensors.torch.load_file(file)
    for name, parameter in chain.named_parameters():
        tensors[f"base_model.model.crf.{name}"] = parameter.detach().clone().contiguous()
    safetensors.torch.save_file(tensors, file, metadata={"format": "pt"})
    (folder / "tenon.json").write_text(json.dumps({"task": "token_classification", "method": "lora", "labels": TAGS, "crf": True, "base_digest": ""}))


def emissions(model, tokenizer, words):
    batch, labels = encode_tags(tokenizer, [(words, ["O"] * len(words))])
    return model(**batch).logits[0][labels[0] != -100]


def test_a_chain_equals_pytorch_crf(engine, tmp_path):  # noqa: F811
    """Losses of 20 steps, and the tags of what came out; PEFT opens it without the chain."""
    folder, _, tokenizer = make_base(tmp_path / "base", **NO_DROPOUT)
    rows = tagged_rows(40, seed=3)
    model, chain = tuned(folder, "tokens", "bert"), chain_of(tmp_path)
    model.save_pretrained(tmp_path / "initial")
    add_chain(tmp_path / "initial", chain)

    def loss_of(part):
        total = words = 0
        for one, tags in part:
            total = total - chain(emissions(model, tokenizer, one)[None], torch.tensor([[TAGS.index(tag) for tag in tags]]), reduction="sum")
            words += len(one)
        return total / words

    class Both(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model, self.chain = model, chain

    theirs = losses_of(Both(), loss_of, rows)
    lines = run_tool(tmp_path, {"base": folder, "out": tmp_path / "out", "initial": tmp_path / "initial",
                                "options": dict(shuffle=False, max_steps=20, learning_rate=1e-3, crf=True, r=4, alpha=8, target_modules=["query", "value"]),
                                "data": tag_data(tmp_path, rows, rows[:9])})
    assert_losses([step["loss"] for step in lines["progress"]], theirs)
    engine("base", folder=folder)
    assert engine("adapter", name="a", folder=tmp_path / "out")["config"]["crf"] is True
    opened = peft.PeftModel.from_pretrained(with_head(folder, "tokens", seed=9), tmp_path / "out").eval()
    import safetensors.torch
    saved = safetensors.torch.load_file(tmp_path / "out/adapter_model.safetensors")
    trained = chain_of(tmp_path)
    with torch.no_grad():
        for name, parameter in trained.named_parameters():
            parameter.copy_(saved[f"base_model.model.crf.{name}"])
    ours = engine("tags", adapter="a", words=[words for words, _ in rows])["rows"]
    changed = 0
    with torch.no_grad():
        for mine, (words, _) in zip(ours, rows):
            logits = emissions(opened, tokenizer, words)
            best = trained.decode(logits[None])[0]
            assert [tag for tag, _ in mine] == [TAGS[tag] for tag in best]
            changed += best != logits.argmax(-1).tolist()
            np.testing.assert_allclose([score for _, score in mine], marginals(trained, logits, best), atol=1e-4)
    assert changed > 5


def marginals(chain, logits, tags):
    """By counting: the share of all ways that have the tag at the word."""
    whole = chain(logits[None], torch.tensor([tags]), reduction="none") - 0  # log p of the best
    likelihood = lambda some: chain(some[None], torch.tensor([tags]), reduction="none")  # noqa: E731
    shares = []
    for word, tag in enumerate(tags):
        only = logits.clone()
        only[word, [i for i in range(len(TAGS)) if i != tag]] = -1e4
        # p(tags) = score / Z; with one word's tag held the same score is over fewer ways.
        shares.append(torch.exp(whole - likelihood(only)).item())
    return shares


def test_a_row_that_does_not_fit_is_named(tmp_path):
    folder, _, _ = make_base(tmp_path / "base")
    train = lambda data, **options: run_tool(tmp_path, {"base": folder, "data": data, "options": dict(max_steps=1, **options)})  # noqa: E731
    good = tagged_rows(8, seed=1)
    with pytest.raises(ToolError) as error:
        train(tag_data(tmp_path, [*good, (["tea"] * 80, ["O"] * 80)]))
    assert (error.value.reason, error.value.field) == ("DATASET_INVALID", "train row 9, column words")
    with pytest.raises(ToolError) as error:
        train(tag_data(tmp_path, good, [good[0], (["tea", "bread"], ["O"])]))
    assert (error.value.reason, error.value.field) == ("DATASET_INVALID", "validation row 2, column tags")


@pytest.mark.parametrize("method", ["head", "bottleneck", "prompt_tuning"])
def test_every_method_trains_and_comes_back(engine, tmp_path, method):  # noqa: F811
    folder, _, _ = make_base(tmp_path / "base", max_position_embeddings=96)
    rows = tagged_rows(24, seed=3)
    lines = run_tool(tmp_path, {"base": folder, "out": tmp_path / "out", "options": dict(method=method, max_steps=60, learning_rate=2e-2, num_virtual_tokens=4),
                                "data": tag_data(tmp_path, rows, rows)})
    assert lines["progress"][-1]["loss"] < lines["progress"][0]["loss"]
    engine("base", folder=folder)
    engine("adapter", name="a", folder=tmp_path / "out")
    predicted = [[tag for tag, _ in row] for row in engine("tags", adapter="a", words=[words for words, _ in rows])["rows"]]
    best = [one for one in lines["evaluation"] if one["best"]][-1]["metrics"]
    assert best["f1"] == pytest.approx(seqeval.f1_score([tags for _, tags in rows], predicted), abs=1e-6)
