import pytest
import tiny
from tenon_process import stubs


@pytest.fixture(scope="session")
def module():
    return stubs()


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return tiny.make_base(tmp_path_factory.mktemp("base"), hidden=128, layers=6)


@pytest.fixture(scope="session")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    return {"train": tiny.write_jsonl(folder / "train.jsonl", tiny.toy_rows(400, seed=1)),
            "validation": tiny.write_jsonl(folder / "validation.jsonl", tiny.toy_rows(60, seed=2))}
