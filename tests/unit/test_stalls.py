"""A bound in seconds forgives what the machine took, and nothing else."""

import os
import signal
import subprocess
import sys
import time

from tests.support.stalls import Stalls

STOPPED = """
import sys, time
from tests.support.stalls import Stalls
with Stalls() as stalls:
    print("ready", flush=True)
    sys.stdin.readline()
    time.sleep(0.2)
    print(stalls.seconds, flush=True)
"""


def test_what_a_loop_itself_takes_is_no_stall():
    with Stalls() as stalls:
        began = time.monotonic()
        time.sleep(0.5)
        while time.monotonic() - began < 1.0:
            pass
        taken_s = time.monotonic() - began
    assert taken_s - stalls.seconds > 0.5  # the machine may stall meanwhile, which is forgiven


def test_a_process_that_is_stopped_is_stalled():
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(0.6)
        os.kill(process.pid, signal.SIGCONT)
        process.stdin.write("\n")
        process.stdin.flush()
        assert float(process.stdout.readline()) > 0.4
