"""Holds docs/errors.md equal to common/formats/reasons.inc. `--write` makes the table anew."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCE = ROOT / "common/formats/reasons.inc"
PAGE = ROOT / "docs/errors.md"
ENTRY = re.compile(r'^TENON_REASON\((k\w+), "([A-Z0-9_]+)", (k\w+), "([^"]+)"\)$')
HEAD = """# Errors

Every error is a `google.rpc.Status`. Its details hold an `ErrorInfo` with `domain` "tenon" and one of these reasons and, where it helps, a
`BadRequest` that names the field, row or key at fault, or a `RetryInfo`. Programs should look at the reason; messages may change.

| Reason | Code | Meaning |
| --- | --- | --- |
"""


def screaming(code):
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", code.removeprefix("k")).upper()


def page():
    rows, names = [], set()
    for line in SOURCE.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("//"):
            continue
        entry = ENTRY.match(line)
        if not entry:
            sys.exit(f"{SOURCE.name}: cannot read this line: {line}")
        symbol, name, code, meaning = entry.groups()
        if screaming(symbol) != name or name in names:
            sys.exit(f"{SOURCE.name}: {name} does not go with {symbol}, or occurs twice")
        names.add(name)
        rows.append(f"| `{name}` | `{screaming(code)}` | {meaning.replace('|', chr(92) + '|')} |\n")
    return HEAD + "".join(rows)


def main():
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page(), encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
        sys.exit("docs/errors.md is not what common/formats/reasons.inc says; run tests/common/errors_table.py --write")


if __name__ == "__main__":
    main()
