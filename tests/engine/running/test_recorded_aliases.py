"""A state whose entries are one tensor at first (weights that remember their start) is recorded as several."""

import torch

from engine.running.recording import record


def test_one_tensor_given_twice_is_two_arguments():
    start = torch.arange(3.0)
    moved = record(lambda now, then: [(now - then).norm()], start, start)
    torch.testing.assert_close(moved(start + 2, start)[0], torch.tensor(12.0).sqrt())
    torch.testing.assert_close(moved(start, start)[0], torch.tensor(0.0))
