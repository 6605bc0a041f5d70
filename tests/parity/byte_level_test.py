"""Our byte-level BPE tokenizer against transformers' GPT2TokenizerFast, RobertaTokenizerFast, BartTokenizerFast and
PreTrainedTokenizerFast: every id of every text and pair, and every text of ids, must be equal."""

import json
import random
import shutil

import pytest

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

from tokenizer_test import ALPHABETS, REAL_TEXTS, made_texts, real_texts, run_tool, shared_file  # noqa: E402, F401

MADE_TEXTS = 5_000
LENGTHS = [1, 3, 5, 16, 64, 512]
PAIR_LENGTHS = [4, 5, 6, 7, 13, 64]
PAIR_CHARACTERS = 20
ROWS_AT_A_TIME = 100
CUT_EVERY = 5  # the reference takes long to cut
SPECIALS = ["<s>", "</s>", "<mask>", "<pad>", "<unk>", "<|endoftext|>", "< mask>", "<mask", "</s", "<|endoftext", "<MASK>", "  <mask>  "]
HARD = [
    "'s't're've'm'll'd'S'T'RE don't I'LL we'd it's 's 'sn't rock'n'roll ''''s '' '",
    " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2007\u2009\u200a\u2028\u2029\u202f\u205f\u3000\u180e\u200b\u2060\ufeff",
    "0123456789٠١٢۳۴०१२৩୪๕໖༧၈០᠑𝟘𝟡①⑳⑴ⅧⅷⅯ½¾²³₄〇㉈꘥𐄇𐏑𑁦𞥐🄀🯰",
    "éè̀e\u0301\u0302ñn\u0303ÅﬁﬃßẞǆǅĲʰˣªºµΩ℮ℵⅎↄ々〆〻ーｰﾞ",
    "\u0301\u0903\u094d\u17d2\u1039\u200c\u200d\u0600\u093c\u20dd\u20e3\ufe0e\ufe0f\U000e0100\u0488\u1dc0",
    "中文字，。、「」カタカナひらがな한국어ㄱㅏ㐀𠀀𪜀豈𮯰𰀀\U000323af",
    "👨‍👩‍👧‍👦👩🏽‍🚀🏳️‍🌈🇩🇪🇫🇷❤️‍🔥1️⃣#️⃣©®™☃️🫨🫩",
    "\u1c89\ua7cb\ua7da\ua7dc\U000105c0\U00010d40\U00010d4a\U00011380\U000116d0\U00016100\U00016d70\U0001ccf0\U0001e5d0\U0001e5f1\U0002ebf0",
    "\x00\x01\x07\x08\x0e\x1b\x1f\x7f\x80\x8f\x9f\xad\u034f\u061c\u202a\ufffd\ufffe\uffff\ue000\U000f0000\U0010ffff",
    "¡¢£¤¥¦§¨©ª«¬\xad®¯°±´¶·¸¹»¼¿×÷ĀāĠġĊċčŁłŃń",
]  # fmt: skip


def ask(folder, lines):
    return run_tool(["--byte-level", str(folder)], lines)


def hard_texts(count):
    random_ = random.Random(8)
    alphabets = HARD + ALPHABETS
    texts = ["", " ", "  ", "\n", "a", " a", "  a", "a ", "a  ", "\na", "\n\na", "\t\ta", "a\n\n\nb", "a \n b", "\u3000\u3000a", " 's", "'", "''s"]
    while len(texts) < count:
        parts = []
        for _ in range(random_.randint(1, 10)):
            kind = random_.random()
            if kind < 0.15:
                parts.append(random_.choice(SPECIALS))
            elif kind < 0.25:
                parts.append(random_.choice([" ", "\xa0", "\u3000", "\n", "\t", "\r\n", "\x85", " \n"]) * random_.randint(1, 40))
            elif kind < 0.3:
                parts.append(random_.choice(["a", "é", "中", "ab", "-", "－", "1", "=*"]) * random_.choice([2, 16, 99, 1000]))
            elif kind < 0.35:
                parts.append("".join(chr(random_.randint(0x20, 0x10FFFF)) for _ in range(6)))
            else:
                letters = random_.choice(alphabets) + random_.choice(alphabets)
                parts.append("".join(random_.choice(letters) for _ in range(random_.randint(1, 16))))
        text = random_.choice(["", " "]).join(parts)
        texts.append("".join(c for c in text if not 0xD800 <= ord(c) < 0xE000))
    return texts


def write(folder, **files):
    for name, content in files.items():
        name = {"vocab": "vocab.json", "merges": "merges.txt", "map": "special_tokens_map.json"}.get(name, f"{name}.json")
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return folder


def token(content, **flags):
    return dict({"__type": "AddedToken", "content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}, **flags)


OPT_CONFIG = {"tokenizer_class": "GPT2Tokenizer", "add_bos_token": True, "add_prefix_space": False, "errors": "replace",
              "bos_token": token("</s>"), "eos_token": token("</s>"), "unk_token": token("</s>"), "pad_token": "<pad>"}  # fmt: skip
MASK_MAP = {"mask_token": {"content": "<mask>", "lstrip": True, "normalized": False, "rstrip": False, "single_word": False}, "eos_token": "</s>"}


def vocabulary(kind):
    return shared_file(f"tokenizers/{kind}").read_text(encoding="utf-8")


def opt_folder(folder):
    return write(folder, vocab=vocabulary("bart_vocab_rebuilt.json"), merges=vocabulary("gpt2_merges.txt"), tokenizer_config=OPT_CONFIG,
                 config={"model_type": "opt"})  # fmt: skip


def gpt2_folder(folder):
    return write(folder, vocab=vocabulary("gpt2_vocab.json"), merges=vocabulary("gpt2_merges.txt"), config={"model_type": "gpt2"})


def bart_folder(folder):
    return write(folder, vocab=vocabulary("bart_vocab_rebuilt.json"), merges=vocabulary("gpt2_merges.txt"), map=MASK_MAP,
                 config={"model_type": "bart"})  # fmt: skip


def saved(make, folder, reference, **settings):
    """What transformers itself writes: one tokenizer.json."""
    old = folder / "old"
    old.mkdir()
    reference.from_pretrained(make(old), **settings).save_pretrained(folder / "saved")
    shutil.copy(old / "config.json", folder / "saved")
    return folder / "saved"


def trained_folder(folder, texts):
    """A small vocabulary of our own texts, trained by the library, with the parts that RoBERTa's tokenizer.json on the Hub
    has; merges are written as strings, as older versions did."""
    trained = tokenizers.ByteLevelBPETokenizer(add_prefix_space=True)
    trained.train_from_iterator(texts, vocab_size=3000, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], show_progress=False)
    written = json.loads(trained.to_str())
    written["model"]["merges"] = [m if isinstance(m, str) else " ".join(m) for m in written["model"]["merges"]]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    written["added_tokens"] = [dict(flags, id=i, content=c) for i, c in enumerate(["<s>", "<pad>", "</s>", "<unk>"])]
    size = len(written["model"]["vocab"])
    written["added_tokens"].append(dict(flags, id=size, content="<mask>", lstrip=True))
    written["post_processor"] = {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0], "trim_offsets": True, "add_prefix_space": True}
    return write(folder, tokenizer=written, tokenizer_config={"add_prefix_space": True}, config={"model_type": "roberta"})


KINDS = ["gpt2", "gpt2_saved", "gpt2_by_file", "opt", "opt_saved", "bart", "bart_saved", "roberta_trained", "roberta_spaced", "ignore_merges"]


@pytest.fixture(params=KINDS)
def case(request, tmp_path, real_texts):  # noqa: F811
    """A folder of each of the kinds that bases come in, and what transformers makes of it."""
    kind = request.param
    gpt2, roberta, bart = transformers.GPT2TokenizerFast, transformers.RobertaTokenizerFast, transformers.BartTokenizerFast
    if kind == "gpt2":
        return gpt2_folder(tmp_path), gpt2
    if kind == "gpt2_saved":
        return saved(gpt2_folder, tmp_path, gpt2), gpt2
    if kind == "gpt2_by_file":
        folder = saved(gpt2_folder, tmp_path, gpt2, add_prefix_space=True)
        return write(folder, tokenizer_config={"tokenizer_class": "PreTrainedTokenizerFast"}), transformers.PreTrainedTokenizerFast
    if kind == "opt":
        return opt_folder(tmp_path), gpt2
    if kind == "opt_saved":
        return saved(opt_folder, tmp_path, gpt2), gpt2
    if kind == "bart":
        return bart_folder(tmp_path), bart
    if kind == "bart_saved":
        return saved(bart_folder, tmp_path, bart), bart
    if kind == "roberta_trained":
        return trained_folder(tmp_path, real_texts[:4000]), roberta
    if kind == "roberta_spaced":
        return saved(bart_folder, tmp_path, roberta, add_prefix_space=True), roberta
    folder = saved(opt_folder, tmp_path, gpt2)
    written = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    written["model"].update(ignore_merges=True, merges=written["model"]["merges"][:20_000])
    written["post_processor"] = {"type": "Sequence", "processors": [{"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False,
                                                                     "use_regex": True}, written["post_processor"]]}  # fmt: skip
    return write(folder, tokenizer=written, tokenizer_config={"tokenizer_class": "TokenizersBackend"}), transformers.PreTrainedTokenizerFast


@pytest.fixture
def share(request):
    """How much of the texts a folder gets: all for one of each family, a tenth where only the files' form differs."""
    return 1 if request.node.callspec.params["case"] in ("gpt2", "opt", "bart_saved", "roberta_trained") else 10


def truncated(reference, rows, lengths):
    """Ids of rows of one or two texts, each cut at its length; rows of one length go together, though few at a time: the
    library builds all that is cut off as rows of their own, of two texts in all combinations."""
    wanted = [None] * len(rows)
    for length in set(lengths):
        all_places = [i for i, n in enumerate(lengths) if n == length]
        for begin in range(0, len(all_places), ROWS_AT_A_TIME):
            places = all_places[begin : begin + ROWS_AT_A_TIME]
            columns = [list(column) for column in zip(*(rows[i] for i in places))]
            for i, ids in zip(places, reference(*columns, truncation=True, max_length=length)["input_ids"]):
                wanted[i] = ids
    return wanted


def assert_equal(case, texts, cut_every=1):
    """Encoding whole and decoding of what came out; cut, and in pairs of the texts' beginnings, for every so many-th text."""
    folder, loader = case
    reference = loader.from_pretrained(folder)
    whole = reference(texts, add_special_tokens=False)["input_ids"]
    decoded = reference.batch_decode(whole, skip_special_tokens=True)
    some = texts[::cut_every]
    around = reference.num_special_tokens_to_add()
    lengths = [max(LENGTHS[i % len(LENGTHS)], around) for i in range(len(some))]
    cut = truncated(reference, [(text,) for text in some], lengths)
    begins = [text[:PAIR_CHARACTERS] for text in some]
    pairs = list(zip(begins, begins[1:] + begins[:1]))
    pair_lengths = [PAIR_LENGTHS[i % len(PAIR_LENGTHS)] for i in range(len(some))]
    paired = truncated(reference, pairs, pair_lengths)
    lines = [{"piece": text} for text in texts]
    lines += [{"text": text, "max_tokens": n} for text, n in zip(some, lengths)]
    lines += [{"pair": [a, b], "max_tokens": n} for (a, b), n in zip(pairs, pair_lengths)]
    lines += [{"ids": ids} for ids in whole]
    ours = ask(folder, lines)
    wrong = [(line, wanted, got) for line, wanted, got in zip(lines, whole + cut + paired + decoded, ours) if wanted != got]
    assert not wrong, f"{len(wrong)} of {len(ours)} differ; the first: {ascii(wrong[0])}"
    return whole


def test_real_texts(case, share, real_texts):  # noqa: F811
    assert len(real_texts) == REAL_TEXTS
    whole = assert_equal(case, real_texts[::share], CUT_EVERY)
    assert sum(len(ids) for ids in whole) > 20 * REAL_TEXTS // share


def test_made_texts(case, share):
    assert_equal(case, (hard_texts(MADE_TEXTS) + made_texts(MADE_TEXTS // 4))[::share], CUT_EVERY)


def test_texts_of_random_ids(case):
    """Most of these end, and go on, in the middle of characters."""
    folder, loader = case
    reference = loader.from_pretrained(folder)
    random_ = random.Random(9)
    bytes_ = [reference.convert_tokens_to_ids(c) for c in tokenizers.pre_tokenizers.ByteLevel.alphabet()]
    high = [i for i in range(len(reference)) if any(c in "ĤĥĦħĨâãäåæçèéêëìíîïðñòóôõ" for c in reference.convert_ids_to_tokens(i) or "")]
    sequences = []
    for _ in range(5_000):
        pools = [bytes_, high, range(len(reference))]
        sequences.append([random_.choice(random_.choice(pools)) for _ in range(random_.randint(0, 40))])
    wanted = reference.batch_decode(sequences, skip_special_tokens=True)
    assert ask(folder, [{"ids": ids} for ids in sequences]) == wanted


def test_every_code_point():
    """The regular expression and its classes: each character between others of each class, without a vocabulary to hide a
    difference."""
    cutter = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    texts = [f"a{c}b1{c}2!{c}? {c} {c}{c}a" for c in map(chr, range(0x110000)) if not 0xD800 <= ord(c) < 0xE000]
    texts += hard_texts(MADE_TEXTS)
    wrong = []
    for text, ours in zip(texts, run_tool(["--byte-level-words"], texts)):
        wanted = [len(word) for word, _ in cutter.pre_tokenize_str(text)]  # a character for each byte
        if ours != wanted:
            wrong.append((text, wanted, ours))
    assert not wrong, f"{len(wrong)} differ; the first: {ascii(wrong[:3])}"


@pytest.mark.parametrize("by_file", [False, True])
def test_added_tokens_of_every_kind(tmp_path, by_file):
    (tmp_path / "gpt2").mkdir()
    reference = transformers.GPT2TokenizerFast.from_pretrained(gpt2_folder(tmp_path / "gpt2"))
    reference.add_tokens(
        [
            tokenizers.AddedToken("NewToken", normalized=True),
            tokenizers.AddedToken("Ébène", normalized=True, single_word=True),
            tokenizers.AddedToken("<left>", lstrip=True, normalized=False),
            tokenizers.AddedToken("<right>", rstrip=True, normalized=False, special=True),
            tokenizers.AddedToken("<right>er", normalized=False),
            tokenizers.AddedToken("<one>", single_word=True, normalized=False),
            tokenizers.AddedToken("two words", normalized=False),
            tokenizers.AddedToken("Ġthe", normalized=True),
            tokenizers.AddedToken("中文", normalized=True),
            tokenizers.AddedToken("the", normalized=False, special=True),
        ]
    )
    folder = tmp_path / "saved"
    reference.save_pretrained(folder)
    if by_file:
        write(folder, tokenizer_config={"tokenizer_class": "PreTrainedTokenizerFast"})
    texts = ["a NewToken b", "newtokens", "xÉbène Ébène. Ebe\u0300ne", "a   <left> b", "a <right>   b", "a <right>er b", "a<one>b <one>",
             "<one>. x<one> <left><left>  <left>", "<|endoftext|> <right> \u3000<left>NewToken", "two words two  words", "中文 Ġthe other the"]  # fmt: skip
    loader = transformers.PreTrainedTokenizerFast if by_file else transformers.GPT2TokenizerFast
    assert_equal((folder, loader), texts * len(LENGTHS))


SETTINGS = [
    {},
    {"add_prefix_space": True},
    {"add_bos_token": True, "add_eos_token": True},
    {"add_bos_token": True, "bos_token": None},
    {"bos_token": "<x>", "add_bos_token": True},
    {"clean_up_tokenization_spaces": True},
    {"clean_up_tokenization_spaces": True, "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output": True},
    {"additional_special_tokens": ["<x>", "<y>"]},
    {"additional_special_tokens": ["<x>"], "extra_special_tokens": ["<y>"]},
    {"extra_special_tokens": {"my_token": "<x>"}},
    {"sep_token": token("<x>", rstrip=True), "own_token": "<y>"},
    {"unk_token": None, "pad_token": "<y>"},
    {"added_tokens_decoder": {"50257": {"content": "<y>"}, "50258": {"content": "<x>", "lstrip": True, "special": True}}},
]
SETTING_TEXTS = ["<x>a <y>", "a  <x>  b , <y><pad>", "it 's . <|endoftext|> do n't", "</s>b<mask>"]


# Another separator than tokenizer.json's is refused.
@pytest.mark.parametrize(
    ("name", "form", "config"),
    [
        (name, form, config)
        for name in ["GPT2Tokenizer", "RobertaTokenizer"]
        for form in ["files", "tokenizer_json", "by_file"]
        for config in SETTINGS
        if (name, form) != ("RobertaTokenizer", "tokenizer_json") or "sep_token" not in config
    ],
    ids=str,
)
def test_settings(tmp_path, name, form, config):
    loader = getattr(transformers, name)
    make = {"GPT2Tokenizer": gpt2_folder, "RobertaTokenizer": bart_folder}[name]
    if form == "files":
        folder = make(tmp_path)
    else:
        folder = saved(make, tmp_path, loader)
    if form == "by_file":
        name, loader = "PreTrainedTokenizerFast", transformers.PreTrainedTokenizerFast
    write(folder, tokenizer_config=dict(config, tokenizer_class=name))
    assert_equal((folder, loader), SETTING_TEXTS * len(LENGTHS))


@pytest.mark.parametrize("special", [{"additional_special_tokens": ["<x>"]}, {"extra_special_tokens": ["<x>"]}, {"pad_token": "<x>"}], ids=str)
def test_added_tokens_file(tmp_path, special):
    write(gpt2_folder(tmp_path), added_tokens={"<y>": 50258, "<x>": 50257}, map=special)
    assert_equal((tmp_path, transformers.GPT2TokenizerFast), SETTING_TEXTS * len(LENGTHS))


@pytest.mark.parametrize("unknown", [None, "<unk>"])
@pytest.mark.parametrize("fused", [False, True])
def test_a_vocabulary_without_all_bytes(tmp_path, unknown, fused):
    vocabulary_ = {"a": 0, "b": 1, "ab": 5, "Ġ": 3, "<unk>": 9, "ba": 4, "abba": 6}
    model = tokenizers.models.BPE(vocab=vocabulary_, merges=[("a", "b"), ("b", "a"), ("ab", "ba"), ("b", "a")], unk_token=unknown, fuse_unk=fused)
    whole = tokenizers.Tokenizer(model)
    whole.pre_tokenizer, whole.decoder = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False), tokenizers.decoders.ByteLevel()
    write(tmp_path, tokenizer=whole.to_str(), tokenizer_config={"tokenizer_class": "PreTrainedTokenizerFast"})
    random_ = random.Random(10)
    texts = ["".join(random_.choice("aaabbbb xé") for _ in range(random_.randint(0, 12))) for _ in range(500)]
    assert_equal((tmp_path, transformers.PreTrainedTokenizerFast), texts)
