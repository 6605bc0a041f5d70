"""`tenon summarize` with an encoder: sentences of the text itself, chosen by their embeddings, through the CLI and real processes."""

import json

import pytest

# Conversations with a turn on each line, each of one sentence: a line's end is a sentence's end.
REPAIR = [
    "#Person1#: Good morning, this is the front desk, how can I help you?",
    "#Person2#: The heating in room 214 does not work and it is very cold here.",
    "#Person1#: I am sorry to hear that.",
    "#Person2#: It stopped some time during the night.",
    "#Person1#: I will send somebody up to repair the heating at once.",
    "#Person2#: How long will that take?",
    "#Person1#: About half an hour, and if it cannot be repaired we will give you another room.",
    "#Person2#: Thank you very much.",
]
TRIP = [
    "#Person1#: Have you packed for the trip to the coast?",
    "#Person2#: Not yet, I was at work until nine.",
    "#Person1#: Our train to the coast leaves at seven in the morning.",
    "#Person2#: Then I will pack tonight and we meet at the station.",
    "#Person1#: Did you see the match yesterday?",
    "#Person2#: No, but I heard that they lost again.",
    "#Person1#: Bring a coat, because the forecast for the coast says rain all weekend.",
    "#Person2#: Rain or not, I am looking forward to walking by the sea.",
]
DIALOGUES = ["\n".join(REPAIR), "\n".join(TRIP)]


@pytest.fixture(scope="module", autouse=True)
def base(tenon, minilm):
    return tenon.json("bases", "add", "minilm", minilm)


@pytest.fixture(scope="module")
def embed(minilm):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(minilm), device="cpu")
    return lambda sentences: model.encode(sentences, normalize_embeddings=True)


def chosen(turns, summary):
    """Places of the turns that a summary is made of; nothing else may be in it."""
    places, rest = [], summary
    for i, turn in enumerate(turns):
        if turn in rest:
            before, rest = rest.split(turn, 1)
            assert before.strip() == ""
            places.append(i)
    assert rest.strip() == ""
    return places


def centroid_order(embed, turns):
    """Turns by their cosine to the mean of all, best first, and those cosines."""
    import numpy as np

    vectors = embed(turns)
    mean = vectors.mean(axis=0)
    cosines = vectors @ mean / np.linalg.norm(mean)
    return np.argsort(-cosines, kind="stable"), cosines


def test_a_summary_is_sentences_of_the_text_in_their_order(tenon, base, tmp_path):
    file = tmp_path / "dialogues.jsonl"
    file.write_text("".join(json.dumps({"id": f"d{i}", "text": text}) + "\n" for i, text in enumerate(DIALOGUES)))
    rows = tenon.lines("summarize", "--base", "minilm", "--input", file)
    assert [row["id"] for row in rows] == ["d0", "d1"]
    for row, turns in zip(rows, (REPAIR, TRIP), strict=True):
        assert row["kind"] == "EXTRACTIVE"
        places = chosen(turns, row["summary"])
        assert len(places) == 3 and row["sentences"] == places == sorted(places)
        assert not row["truncated"]
        assert row["model"]["base"] == "bases/minilm" and row["model"]["baseDigest"] == base["digest"] and row["model"]["adapter"] == ""
        assert int(row["usage"]["inputTokens"]) > 50 and row["usage"]["outputTokens"] == "0"


@pytest.mark.parametrize("count", [1, 2, 5])
def test_so_many_sentences_as_were_asked_for(tenon, count):
    row = tenon.json("summarize", "--base", "minilm", "--max-sentences", count, DIALOGUES[0])
    assert len(row["sentences"]) == count
    assert chosen(REPAIR, row["summary"]) == row["sentences"]


def test_a_text_of_few_sentences_is_its_own_summary(tenon):
    row = tenon.json("summarize", "--base", "minilm", "--max-sentences", 5, "\n".join(REPAIR[:2]))
    assert row["sentences"] == [0, 1]


def test_the_lead_is_the_beginning(tenon):
    for text in DIALOGUES:
        assert tenon.json("summarize", "--base", "minilm", "--method", "lead", "--max-sentences", 2, text)["sentences"] == [0, 1]


def test_the_centroid_is_what_sentence_transformers_finds(tenon, embed):
    for turns, text in zip((REPAIR, TRIP), DIALOGUES):
        order, cosines = centroid_order(embed, turns)
        assert cosines[order[2]] - cosines[order[3]] > 1e-3, "the test's own texts must not be a tie"
        row = tenon.json("summarize", "--base", "minilm", "--method", "centroid", "--max-sentences", 3, text)
        assert row["sentences"] == sorted(int(i) for i in order[:3])


def test_relevance_alone_is_the_centroid_and_less_of_it_avoids_repetition(tenon):
    doubled = [REPAIR[1], "#Person2#: The heating in room 214 is not working, and it is very cold in here.", *TRIP[:3]]
    text = "\n".join(doubled)
    alone = tenon.json("summarize", "--base", "minilm", "--method", "mmr", "--relevance", 1, "--max-sentences", 2, text)
    centroid = tenon.json("summarize", "--base", "minilm", "--method", "centroid", "--max-sentences", 2, text)
    assert alone["sentences"] == centroid["sentences"]
    varied = tenon.json("summarize", "--base", "minilm", "--method", "mmr", "--relevance", 0.3, "--max-sentences", 2, text)
    assert set(varied["sentences"]) != {0, 1}, "both say the same"


def test_the_same_text_gets_the_same_summary_in_any_company(tenon, tmp_path):
    file = tmp_path / "many.jsonl"
    file.write_text("".join(json.dumps({"text": DIALOGUES[i % 2]}) + "\n" for i in range(40)))
    rows = tenon.lines("summarize", "--base", "minilm", "--input", file)
    alone = [tenon.json("summarize", "--base", "minilm", text)["sentences"] for text in DIALOGUES]
    assert [row["sentences"] for row in rows] == alone * 20


def test_for_people(tenon):
    out = tenon.text("summarize", "--base", "minilm", "--max-sentences", 1, DIALOGUES[0])
    assert out.strip() in REPAIR
    table = tenon.text("summarize", "--base", "minilm", "--max-sentences", 1, *DIALOGUES).splitlines()
    assert table[0].split() == ["TEXT", "SUMMARY", "KIND"] and len(table) == 3
    assert all(line.endswith("extractive") for line in table[1:])


def test_an_encoder_does_not_write(tenon):
    code, error = tenon.error("generate", "--base", "minilm", "Once upon a time")
    assert code == 4 and error["reason"] == "NOT_GENERATIVE" and error["field"] == "base"
    code, error = tenon.error("generate", "--base", "minilm", "--stream", "Once upon a time")
    assert code == 4 and error["reason"] == "NOT_GENERATIVE"


@pytest.mark.parametrize("flags,field", [(["--method", "best"], "--method"), (["--relevance", "1.5"], "extractive.relevance"),
                                         (["--max-sentences", "2000"], "extractive.max_sentences"),
                                         (["--num-beams", "0"], "generation.num_beams")])
def test_wrong_options_are_named(tenon, flags, field):
    code, error = tenon.error("summarize", "--base", "minilm", *flags, DIALOGUES[0])
    assert code == 2 and error["field"] == field


def test_an_empty_text_is_named_by_its_row(tenon, tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"text": DIALOGUES[0]}) + "\n" + json.dumps({"text": "  "}) + "\n")
    code, error = tenon.error("summarize", "--base", "minilm", "--input", file)
    assert code == 2 and error["reason"] == "TEXT_EMPTY" and error["field"] == "row 2"
