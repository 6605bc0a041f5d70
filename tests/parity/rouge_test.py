"""Our ROUGE against Google's rouge_score, pair by pair, and our stemmer against NLTK's, word by word."""

import glob
import gzip
import json
import os
import pathlib
import random
import re
import subprocess
import time

import pytest

rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")
porter = pytest.importorskip("nltk.stem.porter")

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOL = os.environ.get("TENON_ROUGE_TOOL", str(ROOT / "build/release/bin/tenon-rouge-tool"))
SHARED = pathlib.Path(os.environ.get("TENON_SHARED", ROOT.parent / "shared"))
KINDS = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
REAL_PAIRS, MADE_PAIRS = 5_000, 1_000


def run(*arguments, lines):
    done = subprocess.run([TOOL, *arguments], input="".join(line + "\n" for line in lines), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    replies = done.stdout.split("\n")[:-1]
    assert len(replies) == len(lines)
    return replies


def ours(pairs, stem):
    lines = [json.dumps({"references": references, "prediction": prediction}) for references, prediction in pairs]
    return [json.loads(reply) for reply in run("score", *(["--stem"] if stem else []), lines=lines)]


def assert_equal(pairs, stem):
    """`pairs` of (references, prediction)."""
    scorer = rouge_scorer.RougeScorer(KINDS, use_stemmer=stem)
    wrong = []
    for (references, prediction), scores in zip(pairs, ours(pairs, stem)):
        wanted = scorer.score_multi(references, prediction)
        for kind, numbers in zip(KINDS, scores):
            if max(abs(a - b) for a, b in zip(numbers, wanted[kind])) > 1e-6:
                wrong.append((kind, references, prediction, wanted[kind], numbers))
    assert not wrong, f"{len(wrong)} differ; the first: {wrong[0]!r}"


@pytest.fixture(scope="module")
def dialogues():
    path = SHARED / "data/dialogsum/train.jsonl"
    if not path.exists():
        pytest.skip("no shared data: dialogsum")
    return [json.loads(line) for line in open(path, encoding="utf-8")]


@pytest.mark.parametrize("stem", [False, True])
def test_real_pairs(dialogues, stem):
    """A summary against its dialogue's first or last lines, another one's summary, and both summaries."""
    draw = random.Random(1)
    rows = draw.sample(dialogues, REAL_PAIRS)
    pairs = []
    for i, row in enumerate(rows):
        summary, other = row["summary"], rows[i - 1]["summary"]
        turns = row["dialogue"].split("\n")
        prediction = ["\n".join(turns[:3]), "\n".join(turns[-4:]), other, other + "\n" + summary][i % 4]
        pairs.append(([summary.replace(". ", ".\n")], prediction))
    assert_equal(pairs, stem)


ALPHABETS = ["abcde ", "ab\n", "ABCxyz019 -_'", "éàüßñ ıİKſ ﬁ", "中文漢字 かな 한국어。", "\n\r\t \x0b\x0c\x1c\x85\u2028", "😀👍🏽 e\u0301", "the cat sat on a mat ran running runs news skies "]
WORDS = "the a cat cats dog dogs running runs ran news skies sky dying dies generally relational café naïve İstanbul Kelvin 3rd 2020s YYYY".split()


def made_text(draw):
    kind = draw.random()
    if kind < 0.06:
        return draw.choice(["", " ", "\n", "\n\n\n", "/", "...", "é", "中文", "\n a", "a\n\nb\n"])
    if kind < 0.5:
        letters = draw.choice(ALPHABETS) + draw.choice(ALPHABETS)
        return "".join(draw.choice(letters) for _ in range(draw.randint(1, 80)))
    separator = [" ", " ", " ", "\n", ". ", ".\n"]
    return "".join(draw.choice(WORDS) + draw.choice(separator) for _ in range(draw.randint(1, 60)))


@pytest.mark.parametrize("stem", [False, True])
def test_made_pairs(stem):
    draw = random.Random(2)
    pairs = [([made_text(draw) for _ in range(draw.choice([1, 1, 1, 3]))], made_text(draw)) for _ in range(MADE_PAIRS)]
    # Longer than one machine word of the table, and over its edges.
    for length in (63, 64, 65, 127, 128, 129, 700):
        pairs.append(([" ".join(draw.choice("abcd") for _ in range(length))], " ".join(draw.choice("abcd") for _ in range(length))))
    assert_equal(pairs, stem)


def test_every_character_alone():
    """Which characters are letters, and which become letters in lower case."""
    characters = [chr(c) for c in range(0x11000) if not 0xD800 <= c < 0xE000]
    pairs = [(["x y xy xky xiy k i ki"], "".join(f"x{c}y {c} " for c in characters[i : i + 8])) for i in range(0, len(characters), 8)]
    assert_equal(pairs, False)


def test_every_word_of_the_shared_data():
    paths = sorted(glob.glob(str(SHARED / "data/**/*.jsonl"), recursive=True)) + sorted(glob.glob(str(SHARED / "data/corpus/*.gz")))
    if not paths:
        pytest.skip("no shared data")
    words = set()
    for path in paths:
        opened = gzip.open(path, "rt", encoding="utf-8") if path.endswith(".gz") else open(path, encoding="utf-8")
        with opened as lines:
            for line in lines:
                words.update(re.findall(r"[a-z0-9]+", line.lower()))
    words = sorted(words)
    assert len(words) > 100_000
    compare_stems(words)


def test_made_words():
    """Every suffix of the rules behind stems of every shape."""
    suffixes = """s sses ies ied eed ed ing at bl iz y ational tional enci anci izer bli alli entli eli ousli ization ation ator alism iveness fulness
        ousness aliti iviti biliti fulli logi icate ative alize iciti ical ful ness al ance ence er ic able ible ant ement ment ent ion sion tion
        ou ism ate iti ous ive ize e ll l""".split()
    draw = random.Random(3)
    stems = ["", "a", "b", "y", "ab", "by", "ya", "yy"] + ["".join(draw.choice("aeioubcdlstzwxy") for _ in range(draw.randint(1, 7))) for _ in range(300)]
    words = sorted({stem + first + second for stem in stems for first in suffixes for second in ["", "s", "ing", "ly"]})
    compare_stems(words)


def compare_stems(words):
    stemmer = porter.PorterStemmer()
    wrong = [(word, wanted, stem) for word, stem in zip(words, run("stem", lines=words)) if stem != (wanted := stemmer.stem(word))]
    assert not wrong, f"{len(wrong)} of {len(words)} differ; the first: {wrong[:5]!r}"


def test_ten_thousand_pairs_take_seconds():
    draw = random.Random(4)
    text = lambda: " ".join(draw.choice(WORDS) for _ in range(100))  # noqa: E731
    pairs = [([text()], text()) for _ in range(10_000)]
    started = time.monotonic()
    ours(pairs, True)
    taken = time.monotonic() - started
    print(f"10,000 pairs of 100 tokens: {taken:.2f} s")
    assert taken < 10
