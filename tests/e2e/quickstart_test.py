"""The README's first command: works without a terminal and with one, a second time too, and leaves no process behind."""

import os
import pathlib
import pty
import re
import signal
import subprocess

import pytest
from tenon_process import BIN, ROOT

SCRIPT = ROOT / "deploy/quickstart.sh"
pytestmark = pytest.mark.skipif(BIN.resolve() != ROOT / "build/release/bin", reason="the quickstart builds build/release")


def left_behind():
    """Command lines of processes that hold the quickstart's folder."""
    found = []
    for file in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any("build/quickstart/" in word for word in words) and words[0].rsplit("/", 1)[-1].startswith("tenon"):
            found.append(words)
    return found


def check(output):
    """What it promises, in the order of its promises."""
    places = []
    for words in ("UNTRAINED  HEAD BASELINE  BEST", "TRUE \\ PREDICTED", "OTHERS", "documents stored, 0 refused", "returns-window", "account-compromised",
                  'tenon_workers{state="ready"} 1', "tenon_worker_train_steps_total", "What to type next"):
        assert words in output, words
        places.append(output.rindex(words))
    assert places == sorted(places)
    untrained, head, best = map(float, re.search(r"accuracy +([\d.]+) +([\d.]+) +([\d.]+)", output).groups())
    assert untrained < 0.5 and head > 0.6 and best > untrained + 0.3


def test_without_a_terminal():
    done = subprocess.run([SCRIPT], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:]
    check(done.stdout)
    assert "\033" not in done.stdout  # a log is not a terminal
    assert left_behind() == []


def test_again_on_a_terminal():
    main, side = pty.openpty()
    process = subprocess.Popen([SCRIPT], stdin=side, stdout=side, stderr=side)
    os.close(side)
    output = b""
    try:
        while chunk := os.read(main, 65536):
            output += chunk
    except OSError:  # how Linux tells that the other side is closed
        pass
    assert process.wait(60) == 0, output[-3000:]
    text = output.decode(errors="replace").replace("\r\n", "\n")
    check(text)
    assert re.search(r"\r\033\[Ktraining [█▏▎▍▌▋▊▉·]+ \d+/310 .*rows/s.*ETA", text), "no live progress line"
    assert left_behind() == []


def test_ctrl_c_stops_all_of_it():
    process = subprocess.Popen([SCRIPT], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    for line in process.stdout:
        if line.startswith("running"):
            break
    os.killpg(process.pid, signal.SIGINT)
    process.stdout.read()
    assert process.wait(60) == 130
    assert left_behind() == []
