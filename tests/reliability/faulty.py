"""A true worker in which something goes wrong at one frame of its training: `LEMMASCOPE_FAULT` is WHAT:FRAME.

Only the first process to get there fails; the one that takes its place is sound.
"""

import ctypes
import importlib
import os
import signal
import time

FAULT = "LEMMASCOPE_FAULT"


def _segfault():
    os.kill(os.getpid(), signal.SIGSEGV)


def _raise():
    raise ZeroDivisionError("thrown")


def _memory():
    importlib.import_module("torch").empty(10**11)


def _array():
    importlib.import_module("numpy").ones(10**11)


def _device():
    raise RuntimeError("CUDA error: unspecified launch failure\nmore words")


def _hold():
    """Held by C code that never lets go of the interpreter."""
    ctypes.PyDLL(None).sleep(60)


def _spoil(state):
    """What a step far too large does to the weights."""
    with importlib.import_module("torch").inference_mode():
        for v in importlib.import_module("engine.running.tiers").flatten(state).values():
            v.fill_(float("nan"))


DEEDS = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": _segfault,
    "exit": lambda: os._exit(3),
    "raise": _raise,
    "sleep": lambda: time.sleep(60),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "hold": _hold,
    "memory": _memory,
    "array": _array,
    "device": _device,
}


def serve(connection):
    """Runs in the spawned process in the place of `engine.running.spawning._serve`."""
    what, frame, once = os.environ[FAULT].split(":")
    training = importlib.import_module("engine.running.training")
    worker = importlib.import_module("engine.running.worker")
    true, count = training.Training.advance, [0]

    def advance(self):
        count[0] += 1
        if count[0] == int(frame) and not os.path.exists(once):
            open(once, "x").close()
            if what == "nan":
                _spoil(self.state)
            else:
                DEEDS[what]()
        return true(self)

    training.Training.advance = advance
    if what == "device":
        _with_device(training, worker)
    worker.main(connection)


def _with_device(training, worker):
    """A device of cardboard, which is the CPU."""
    training.devices = worker.devices = lambda: ("cpu", "cuda:0")
    for name in ("Machine", "Stack"):
        real = getattr(training, name)
        setattr(
            training, name, lambda ex, m, dtype, device="cpu", real=real: real(ex, m, dtype, "cpu")
        )
    real = training.train
    training.train = lambda *a, **k: real(*a, **{**k, "device": "cpu"})
