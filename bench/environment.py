"""Makes the processes and clients that the tests use importable here."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests/python"))
