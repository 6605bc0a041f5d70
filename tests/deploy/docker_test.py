"""The images' recipes: built in stages, pinned, run by a user that is not root, with nothing of the builder left in them."""

import json
import pathlib
import re
import shlex

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))


def instructions(path):
    """(word, rest) pairs; continued lines are joined, comments dropped."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def recipe(request):
    return instructions(request.param)


def last_stage(recipe):
    start = max(i for i, (word, _) in enumerate(recipe) if word == "FROM")
    return recipe[start:]


def test_there_is_one_for_each_program():
    assert [path.stem for path in FILES] == ["client", "server", "worker"]


def test_bases_are_pinned(recipe):
    for word, rest in recipe:
        if word == "FROM":
            image = rest.split()[0]
            assert re.fullmatch(r"debian:\d+\.\d+-slim", image), image


def test_builder_and_product_are_apart(recipe):
    assert sum(word == "FROM" for word, _ in recipe) == 2
    final = last_stage(recipe)
    assert any(word == "COPY" and rest.startswith("--from=build ") for word, rest in final)
    for word, rest in final:
        assert not re.search(r"\S-dev\b", rest) and "g++ " not in rest and "install.sh" not in rest
        assert word != "ADD"
        # The source stays in the builder.
        assert not (word == "COPY" and not rest.startswith("--from="))


def test_runs_as_a_numbered_user_that_is_not_root(recipe):
    users = [rest for word, rest in last_stage(recipe) if word == "USER"]
    assert len(users) == 1
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", users[0])
    # A number, so that Kubernetes can check runAsNonRoot.
    words = [word for word, _ in last_stage(recipe)]
    assert words.index("USER") > max(i for i, word in enumerate(words) if word == "RUN")


def test_says_how_healthy_it_is(recipe):
    assert sum(word == "HEALTHCHECK" for word, _ in last_stage(recipe)) == 1


def test_starts_a_program_without_a_shell(recipe):
    for word, rest in recipe:
        if word in ("ENTRYPOINT", "CMD"):
            assert all(isinstance(part, str) for part in json.loads(rest))


def test_package_lists_are_not_kept(recipe):
    for word, rest in recipe:
        if word == "RUN" and "apt-get install" in rest:
            assert "rm -rf /var/lib/apt/lists/*" in rest and "--no-install-recommends" in rest
            assert shlex.split(rest)


def test_what_is_copied_in_is_listed_to_be_left_out():
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {"build", ".git"} <= set(ignored)
