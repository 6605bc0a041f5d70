"""The rule by which benchmark rows are drawn from the shared data sets.

Rows whose text occurs twice (ignoring case and white space) are kept once, rows are ordered by the SHA-256 of their text, and the first N go to
judging, the next to choosing, the next to training. The order is random to the eye, the same on every machine, and depends on no seed.

    python bench/splits.py OUT_DIR      writes agnews.{train,choose,judge}.jsonl and sst2.{train,choose,judge}.jsonl
"""

import hashlib
import json
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHARED = pathlib.Path(os.environ.get("TENON_SHARED", ROOT.parent / "shared"))

TRAIN, CHOOSE, JUDGE = 4000, 2000, 5000


def read(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def ordered(rows):
    """Rows without repeats, by the SHA-256 of their text."""
    kept = {}
    for row in rows:
        kept.setdefault(" ".join(row["text"].lower().split()), {"text": row["text"], "label": row["label"]})
    return sorted(kept.values(), key=lambda row: hashlib.sha256(row["text"].encode()).hexdigest())


def agnews():
    rows = ordered(read(SHARED / "data/agnews/train.jsonl"))
    return {
        "judge": rows[:JUDGE],
        "choose": rows[JUDGE : JUDGE + CHOOSE],
        "train": rows[JUDGE + CHOOSE : JUDGE + CHOOSE + TRAIN],
    }


def sst2():
    judge = ordered(read(SHARED / "data/cls/sst2/dev.jsonl"))
    judged = {" ".join(row["text"].lower().split()) for row in judge}
    rows = [row for row in ordered(read(SHARED / "data/cls/sst2/train.jsonl"))
            if " ".join(row["text"].lower().split()) not in judged]
    return {"judge": judge, "choose": rows[:CHOOSE], "train": rows[CHOOSE : CHOOSE + TRAIN]}


SETS = {"agnews": agnews, "sst2": sst2}


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for name, make in SETS.items():
        for part, rows in make().items():
            with open(out / f"{name}.{part}.jsonl", "w", encoding="utf-8") as file:
                for row in rows:
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
            print(f"{name}.{part}: {len(rows)} rows")


if __name__ == "__main__":
    main()
