"""Tiny data for trainings, and a way to stop one."""

import torch


def data(count=32):
    random = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 256, (count, 3, 32, 32), generator=random, dtype=torch.uint8)
    classes = torch.randint(0, 10, (count,), generator=random)
    return pictures, classes, pictures[:8], classes[:8]


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def stop_at(monkeypatch, owner, name, call):
    """Make a function raise KeyboardInterrupt the time that it is called so often."""
    function, calls = getattr(owner, name), []

    def stopped(*arguments, **options):
        calls.append(None)
        if len(calls) == call:
            raise KeyboardInterrupt
        return function(*arguments, **options)

    monkeypatch.setattr(owner, name, stopped)
