"""Our T5 tokenizer against transformers' T5TokenizerFast: every id of every text, and every text of ids, must be equal."""

import base64
import json
import random
import struct

import pytest

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

from tokenizer_test import ALPHABETS, REAL_TEXTS, TOOL, made_texts, real_texts, run_tool, shared_file  # noqa: E402, F401

LENGTHS = [1, 2, 5, 16, 64, 512]
CUT_EVERY = 5  # the reference takes long to cut
MADE_TEXTS = 8_000
CONFIG = {"tokenizer_class": "T5Tokenizer", "extra_ids": 100, "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
SPECIALS = ["<extra_id_0>", "<extra_id_99>", "<extra_id_100>", "<extra_id_1", "</s>", "<s>", "<pad>", "<unk>", "< unk>", "＜unk＞", "</S>", "▁",
            "<", "\u2581\u2581a"]  # fmt: skip
HARD = [
    "ＡＢＣａｂｃ０１２！？～｡｢｣ｱｲｳｶﾞﾊﾟ㍿㌖①⑳ⅧⅷﬀﬁﬃĲǅℌ𝔸𝟘ﷺ",
    "é\u0301e\u0301e\u0301\u0302a\u0323\u0307ﬁ\u0301Ａ\u0301ｶ\u3099Å\u030aẛ\u0323①\u0308½\u0338…\u0301",
    "👨‍👩‍👧‍👦👩🏽‍🚀🏳️‍🌈🇩🇪🇫🇷🇺❤️‍🔥1️⃣#️⃣©\u200d®\u200d™️",
    "\u1100\u1161\u11a8\uac01\u3131\u314f\uac00\u11a8\ud7a3\uffa1\uffa2中文字，。、「」カタカナひらがな㐀𠀀豈更",
    "\u0915\u094d\u0937\u0924\u094d\u0930\u0958\u0301\u093c\u0915\u094d\u0915\u0958\u0301\u0995\u09cd\u0995\u0aae\u0acd\u0aae\u1019\u1039\u1019\u1780\u17b6\u0e33\u0eb3",
    " \t\n\r\r\n\x0b\x0c\x1c\x85\xa0\u1680\u2000\u2009\u200a\u2028\u2029\u202f\u205f\u3000\u180e\u200b\u2060\ufeff",
    "\x00\x01\x02\x08\x0e\x1f\x7f\x80\x8f\x9f\xad\u034f\u061c\u0600\u06dd\u070f\u08e2\u200c\u200d\u200e\u202a\ufffd\ufffe\ue000",
]  # fmt: skip


def ask(folder, lines):
    return run_tool(["--generative", str(folder)], lines)


@pytest.fixture(params=["tokenizer_json", "spiece", "cleaning", "saved"])
def folder(request, tmp_path):
    """A T5 folder of each of the kinds that bases come in."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "t5"}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(dict(CONFIG, clean_up_tokenization_spaces=request.param == "cleaning")))
    name = "spiece.model" if request.param == "spiece" else "tokenizer.json"
    (tmp_path / name).write_bytes(shared_file(f"tokenizers/t5_{name}").read_bytes())
    if request.param == "spiece":
        pytest.importorskip("sentencepiece")
    if request.param == "saved":
        transformers.T5TokenizerFast.from_pretrained(tmp_path).save_pretrained(tmp_path / "again")
        return tmp_path / "again"
    return tmp_path


@pytest.fixture
def json_folder(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "t5"}))
    (tmp_path / "tokenizer.json").write_bytes(shared_file("tokenizers/t5_tokenizer.json").read_bytes())
    return tmp_path


def assert_equal(folder, texts, cut_every=1):
    """Encoding, as a piece, and decoding of what came out; for every so many-th text, cut at LENGTHS[i % 6] tokens and in pairs of
    the texts' beginnings."""
    reference = transformers.T5TokenizerFast.from_pretrained(folder)
    whole = reference(texts, add_special_tokens=False)["input_ids"]
    decoded = reference.batch_decode(whole, skip_special_tokens=True)
    some = texts[::cut_every]
    lengths = [LENGTHS[i % len(LENGTHS)] for i in range(len(some))]
    cut = [reference(text, truncation=True, max_length=length)["input_ids"] for text, length in zip(some, lengths)]
    pairs = [(a[:200], b[:300]) for a, b in zip(some, some[1:] + some[:1])]
    pair_lengths = [max(length, 2) for length in lengths]  # it does not cut a pair whose two ends do not fit
    paired = [reference(a, b, truncation=True, max_length=length)["input_ids"] for (a, b), length in zip(pairs, pair_lengths)]
    lines = [{"piece": text} for text in texts]
    lines += [{"text": text, "max_tokens": length} for text, length in zip(some, lengths)]
    lines += [{"pair": pair, "max_tokens": length} for pair, length in zip(pairs, pair_lengths)]
    lines += [{"ids": ids} for ids in whole]
    ours = ask(folder, lines)
    wrong = [(line, wanted, got) for line, wanted, got in zip(lines, whole + cut + paired + decoded, ours) if wanted != got]
    assert not wrong, f"{len(wrong)} of {len(ours)} differ; the first: {ascii(wrong[0])}"
    return whole


def hard_texts(count):
    random_ = random.Random(4)
    alphabets = HARD + ALPHABETS
    texts = []
    for _ in range(count):
        parts = []
        for _ in range(random_.randint(1, 10)):
            kind = random_.random()
            if kind < 0.15:
                parts.append(random_.choice(SPECIALS))
            elif kind < 0.25:
                parts.append(random_.choice([" ", "\xa0", "\u3000", "\n", "\u200b", "\r\n"]) * random_.randint(1, 40))
            elif kind < 0.3:
                parts.append(random_.choice("aé中.－") * random_.choice([2, 16, 99, 1000]))
            else:
                letters = random_.choice(alphabets) + random_.choice(alphabets)
                parts.append("".join(random_.choice(letters) for _ in range(random_.randint(1, 16))))
        texts.append(random_.choice(["", " "]).join(parts))
    return texts


@pytest.fixture
def share(request):
    """How much of the texts a folder gets: all for the two forms that bases come in, a tenth where only the config differs."""
    return 1 if request.node.callspec.params["folder"] in ("tokenizer_json", "spiece") else 10


def test_real_texts(folder, share, real_texts):  # noqa: F811
    assert len(real_texts) == REAL_TEXTS
    whole = assert_equal(folder, real_texts[::share], CUT_EVERY)
    assert sum(len(ids) for ids in whole) > 20 * REAL_TEXTS // share


def test_made_texts(folder, share):
    assert_equal(folder, (hard_texts(MADE_TEXTS) + made_texts(MADE_TEXTS // 4))[::share], CUT_EVERY)


def test_texts_of_random_ids(folder):
    reference = transformers.T5TokenizerFast.from_pretrained(folder)
    random_ = random.Random(5)
    marks = reference.convert_tokens_to_ids([".", ",", "!", "?", "'", "▁", "▁'", "n", "▁n", "'", "s", "t", "m", "▁'ve", "</s>", "<pad>"])
    sequences = []
    for _ in range(5_000):
        ids = [random_.choice(marks) if random_.random() < 0.5 else random_.randrange(32_128) for _ in range(random_.randint(0, 40))]
        sequences.append(ids)
    wanted = reference.batch_decode(sequences, skip_special_tokens=True)
    assert ask(folder, [{"ids": ids} for ids in sequences]) == wanted


def test_texts_of_more_ids_begin_with_those_of_fewer(json_folder):
    random_ = random.Random(6)
    ids = [random_.randrange(32_128) for _ in range(3_000)]
    texts = ask(json_folder, [{"ids": ids[:end]} for end in range(len(ids))])
    assert all(longer.startswith(shorter) for shorter, longer in zip(texts, texts[1:]))


def test_added_tokens_of_every_kind(json_folder):
    reference = transformers.T5TokenizerFast.from_pretrained(json_folder)
    reference.add_tokens(
        [
            tokenizers.AddedToken("NewToken", normalized=True),
            tokenizers.AddedToken("Ｅbène", normalized=True, single_word=True),
            tokenizers.AddedToken("<left>", lstrip=True, normalized=False),
            tokenizers.AddedToken("<right>", rstrip=True, normalized=False, special=True),
            tokenizers.AddedToken("<right>er", normalized=False),
            tokenizers.AddedToken("<one>", single_word=True, normalized=False),
            tokenizers.AddedToken("two words", normalized=False),
            tokenizers.AddedToken("＜hidden＞", normalized=True, special=True),
            tokenizers.AddedToken("the", normalized=True),
        ]
    )
    folder = json_folder / "saved"
    reference.save_pretrained(folder)
    texts = ["a NewToken b", "newtokens", "xＥbène Ebène. Ebe\u0300ne", "a   <left> b", "a <right>   b", "a <right>er b", "a<one>b <one>",
             "<one>. x<one> <left><left>  <left>", "</s></s> <right> \u3000<left>NewToken", "two words two  words", "ＮewToken", "<hidden>＜hidden＞ the Ｔhe other"]  # fmt: skip
    assert_equal(folder, texts * len(LENGTHS))


SENTINELS = [f"<extra_id_{i}>" for i in range(100)]


@pytest.mark.parametrize("model", ["tokenizer.json", "spiece.model"])
@pytest.mark.parametrize(
    "config",
    [
        {},
        {"extra_ids": 0},
        {"extra_ids": 7},
        {"additional_special_tokens": SENTINELS},
        {"additional_special_tokens": ["<x>", "<y>"]},
        {"additional_special_tokens": ["<x>"], "extra_special_tokens": ["<y>"]},
        {"extra_special_tokens": {"my_token": "<x>"}},
        {"eos_token": "<x>", "pad_token": "<y>"},
        {"sep_token": {"__type": "AddedToken", "content": "<x>"}, "own_token": "<y>"},
        {"added_tokens_decoder": {"0": {"content": "<pad>", "special": True}, "9": {"content": "<y>"}, "8": {"content": "<x>", "lstrip": True}}},
    ],
    ids=str,
)
def test_settings(tmp_path, model, config):
    if model == "spiece.model":
        pytest.importorskip("sentencepiece")
    (tmp_path / model).write_bytes(shared_file(f"tokenizers/t5_{model}").read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert_equal(tmp_path, ["<x>a <y>", "a  <x>, <y><pad>", "<extra_id_0> <extra_id_6> <extra_id_7> <extra_id_99>", "</s>b"] * len(LENGTHS))


def darts(entries):
    """A precompiled character map: Darts-clone's double array over the keys' bytes, each node at the first place where it fits."""
    root, texts = {}, b""
    for key, value in entries.items():
        node = root
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[0] = len(texts)
        texts += value.encode() + b"\0"
    units, bases = {0: 0}, set()

    def place(node, at, label):
        base = 1
        while base in bases or any(base ^ byte in units for byte in node):
            base += 1
        bases.add(base)
        units[at] = (at ^ base) << 10 | label | (0x100 if 0 in node else 0)
        for byte in node:
            units[base ^ byte] = 0
        for byte, child in node.items():
            if byte == 0:
                units[base] = 1 << 31 | child
            else:
                place(child, base ^ byte, byte)

    place(root, 0, 0)
    # Whole blocks of 256: the reference looks for any byte's place without looking whether there is one.
    trie = b"".join(struct.pack("<I", units.get(i, 0)) for i in range((max(units) | 255) + 1))
    return struct.pack("<I", len(trie)) + trie + texts


def assert_normalized(tmp_path, charsmap, texts):
    (tmp_path / "map").write_bytes(charsmap)
    reference = tokenizers.normalizers.Precompiled(charsmap)
    texts = [text for text in texts if not any(0xD800 <= ord(c) < 0xE000 for c in text)]
    wrong = [(text, reference.normalize_str(text), ours) for text, ours in zip(texts, run_tool(["--charsmap", str(tmp_path / "map")], texts))
             if reference.normalize_str(text) != ours]  # fmt: skip
    assert not wrong, f"{len(wrong)} differ; the first: {ascii(wrong[:3])}"


def code_points():
    return (chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000)


def test_every_code_point(tmp_path):
    normalizer = json.loads(shared_file("tokenizers/t5_tokenizer.json").read_text())["normalizer"]["normalizers"][0]
    texts = [f"Ａ{c}b{c}" for c in code_points()] + [f"{c}\u0301" for c in code_points()]
    assert_normalized(tmp_path, base64.b64decode(normalizer["precompiled_charsmap"]), texts)


def test_clusters(tmp_path):
    """With a map that replaces plain letters, so that every boundary between clusters of less than 6 bytes shows."""
    charsmap = darts({"a": "X", "\u0915": "K", "\u1780": "Q", "\u1161": "V", "\u11a8": "T", "\r": "R", "\n": "N", "\u0301": "!", "\u0958": "k"})
    texts = [f"a{c}" for c in code_points()] + [f"{c}a\u0301" for c in code_points()]
    texts += [f"\u0915{c}\u0915\u0301" for c in code_points()] + [f"{c}\u094d\u0915\u0301" for c in code_points()]
    texts += [f"{c}\u1161\u0301\u11a8\u0301" for c in code_points()]
    random_ = random.Random(7)
    marks = "a1\u0301\u0903\u094d\u17d2\u1039\u200c\u200d\u0600\u0bcd\u093c\u0915\u0937\u0958\u1780\u1000\r\n\x01"
    marks += "\u1100\u1161\u11a8\uac00\uac01\U0001f1e9\U0001f469\U0001f3fd\u00a9\u2122"
    texts += ["".join(random_.choice(marks) for _ in range(random_.randint(2, 9))) for _ in range(200_000)]
    assert_normalized(tmp_path, charsmap, texts)
