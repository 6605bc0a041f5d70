"""Which metrics a PromQL expression reads, and which a metrics page or the documentation names."""

import re

# What follows a metric's name in PromQL is never an opening parenthesis; what stands in braces, brackets and quotes is no metric.
_WORD = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*(?!\s*\()(?![a-zA-Z0-9_:])")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan", "le"}


def read_by(expression):
    """Names of the metrics of an expression."""
    bare = _GROUPING.sub(" ", re.sub(r'"[^"]*"', " ", expression))
    bare = re.sub(r"\[[^\]]*\]", " ", re.sub(r"\{[^}]*\}", " ", bare))
    return {word for word in _WORD.findall(bare) if word.lower() not in _WORDS}


def exposed(page):
    """Names of the samples of a metrics page in Prometheus' text format."""
    return {re.split(r"[{ ]", line, maxsplit=1)[0] for line in page.splitlines() if line and not line.startswith("#")}
