"""What is lost where runs are killed, states damaged and agents ended: counted, on a tiny network and pictures of noise.

    python experiments/faults.py

Runs are forked from this process, which has imported everything, and killed at random moments from their first saved state on, in chains
of up to five kills before one is let to its end; agents of torchrun are real ones. Takes about 20 minutes on two cores, on Linux. Writes
experiments/results/faults.csv and its table in docs/large_runs.md.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from shared.tables import DOCS, RESULTS, markdown_table, put_table, row_of, write_rows

from featvis.audit.distributed import joined
from featvis.audit.request import AT_ONCE, Request, Running, Watching
from featvis.audit.resume import State
from featvis.audit.run import audit_pictures
from featvis.data.pictures import find_pictures
from featvis.errors import FeatvisError
from featvis.models.specs import load_model

TABLE = RESULTS / "faults.csv"
COLUMNS = ("fault", "processes", "workers", "tried", "held", "again", "difference", "seconds")
"""tried: how often. held: how often it ended as it should. again: pictures that were measured twice for it, in all. difference: the
largest, relative, between the results and those of an unbroken run. seconds: the longest until no process was left."""

PICTURES, BATCH, SAME = 60, 2, 1e-6
PAUSE = 0.02
"""Seconds that the network sleeps for each batch, so that most of a run is measuring."""

NETWORK = f"""
import os
import time

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, 2, padding=1)

    def forward(self, images):
        time.sleep(float(os.environ.get("PAUSE", {PAUSE})))
        return self.convolution(images).relu().mean((2, 3))
"""


@dataclass(frozen=True)
class Place:
    """A folder with a network, its pictures, and what an unbroken run measures."""

    folder: Path
    numbers: Any

    @classmethod
    def made(cls, folder: Path) -> Place:
        """Write the network and pictures of noise, one of them broken, and measure them once."""
        (folder / "nets.py").write_text(NETWORK)
        (folder / "pictures").mkdir()
        draws = np.random.default_rng(0)
        for number in range(PICTURES):
            pixels = draws.integers(0, 256, (40, 44, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "pictures" / f"{number:02}.png")
        (folder / "pictures" / "17.png").write_bytes(b"no picture")
        place = cls(folder, None)
        place.measure(AT_ONCE, "unbroken")
        return cls(folder, place.result("unbroken"))

    def measure(self, running: Running, name: str) -> None:
        """Run an audit here; its first process writes NAME.json, each process a line for each batch into NAME.log."""
        model = load_model(f"{self.folder / 'nets.py'}:Net", size=(16, 16), device="cpu")
        with (self.folder / f"{name}.log").open("a") as log:

            def seen(of: str, batch: Any, total_stride: int) -> None:
                log.write(f"{len(batch.numbers)}\n")
                log.flush()

            paths = find_pictures([str(self.folder / "pictures")])
            audit = audit_pictures(model, paths, Request(batch_size=BATCH, skip_bad=True), running, Watching(seen=seen))
        if running.group.leads:
            (self.folder / f"{name}.json").write_text(audit.to_json())

    def result(self, name: str) -> Any:
        """The numbers of a run, without how it went; None where it wrote none."""
        path = self.folder / f"{name}.json"
        if not path.exists():
            return None
        return {key: value for key, value in json.loads(path.read_text()).items() if key not in ("settings", "notes")}

    def measured(self, name: str) -> int:
        """How many pictures a run and those that went on with it measured, twice where they did so twice."""
        return sum(map(int, (self.folder / f"{name}.log").read_text().split()))


def difference(first: Any, other: Any) -> float:
    """The largest relative difference between numbers that stand at the same places; infinite where anything else differs."""
    if isinstance(first, dict) and isinstance(other, dict) and first.keys() == other.keys():
        return max((difference(first[key], other[key]) for key in first), default=0.0)
    if isinstance(first, list) and isinstance(other, list) and len(first) == len(other):
        return max((difference(*pair) for pair in zip(first, other, strict=True)), default=0.0)
    if isinstance(first, float) and isinstance(other, float) and first != other:
        return abs(first - other) / max(abs(first), abs(other), 1e-3)
    return 0.0 if first == other else math.inf


def forked(run: Callable[[], None], said: Path) -> int:
    """Run in a process of its own: exit code 0, 2 with one line in a file where it is refused, 1 with a traceback."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        torch.set_num_threads(1)
        run()
        code = 0
    except FeatvisError as error:
        said.write_text(f"{error}\n")
        code = 2
    except BaseException:
        said.write_text(traceback.format_exc())
    finally:
        os._exit(code)


def started(place: Place, name: str, processes: int, workers: int, state: Path) -> list[int]:
    """The processes of one resumed audit, as torchrun would start them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def run(rank: int) -> None:
        if processes > 1:
            of = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_PORT": port}
            os.environ.update({key: str(value) for key, value in of.items()}, MASTER_ADDR="127.0.0.1")
        with joined() as group:
            place.measure(Running(workers, folder=state, save_every=1, resume=True, group=group), name)

    return [
        forked(lambda rank=rank: run(rank), place.folder / f"{name}-{rank}.said")  # type: ignore[misc]
        for rank in range(processes)
    ]


def ended(children: list[int], within: float) -> list[int]:
    """The exit codes of processes, minus the signal where one was killed; whoever is left after so many seconds is killed and has 99."""
    codes: dict[int, int] = {}
    deadline = time.monotonic() + within
    while len(codes) < len(children):
        for child in set(children) - codes.keys():
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                codes[child] = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                codes[child] = 99
        time.sleep(0.005)
    return [codes[child] for child in children]


def said_by(place: Place, name: str) -> list[str]:
    """What the processes of a run said last."""
    return [path.read_text() for path in sorted(place.folder.glob(f"{name}-*.said"))]


def runs(child: int) -> bool:
    """Whether a process has not ended yet."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def parts(state: Path) -> bool:
    """Whether a state is on the disk."""
    return any(state.glob("part-*.safetensors"))


def kills(place: Place, processes: int, workers: int, count: int, draws: random.Random) -> dict[str, str]:
    """Kill runs, all of their processes or one of several, in chains of resumes that each end with an unbroken one."""
    killed = held = again = 0
    worst = longest = 0.0
    for chain in itertools.count():
        if killed >= count:
            break
        name = f"killed-{processes}-{workers}-{chain}"
        state, in_chain = place.folder / name, 0
        for _ in range(5):
            children = started(place, name, processes, workers, state)
            while not parts(state) and all(map(runs, children)):
                time.sleep(0.005)
            time.sleep(draws.uniform(0, 1 + PICTURES / BATCH / processes * PAUSE / 3))
            if not parts(state):
                # It was done already.
                ended(children, 60)
                break
            moment, one = time.monotonic(), draws.choice(children)
            alone = draws.random() < 0.5
            for child in children:
                # Where one of several dies, torchrun asks the others to end.
                os.kill(child, signal.SIGTERM if alone and child != one else signal.SIGKILL)
            codes = ended(children, 60)
            longest = max(longest, time.monotonic() - moment)
            assert set(codes) <= {0, 2, -signal.SIGKILL, -signal.SIGTERM}, (name, codes, said_by(place, name))
            in_chain += 1
        else:
            codes = ended(started(place, name, processes, workers, state), 120)
            assert codes == [0] * processes, (name, codes, said_by(place, name))
        found = math.inf if place.result(name) is None else difference(place.numbers, place.result(name))
        killed, worst = killed + in_chain, max(worst, found)
        again += place.measured(name) - (PICTURES - 1)
        held += in_chain * (found <= (0 if processes == 1 else SAME) and not state.exists())
    return row_of(COLUMNS, "killed", processes, workers, killed, held, again, f"{worst:.1e}", f"{longest:.1f}")


def stopped_state(place: Place, name: str) -> Path:
    """The file of a state with half of the pictures."""
    state = place.folder / name
    done = 0

    def stop() -> bool:
        nonlocal done
        done += 1
        return done > PICTURES / BATCH / 2

    model = load_model(f"{place.folder / 'nets.py'}:Net", size=(16, 16), device="cpu")
    paths, request = find_pictures([str(place.folder / "pictures")]), Request(batch_size=BATCH, skip_bad=True)
    try:
        audit_pictures(model, paths, request, Running(folder=state), Watching(stop=stop))
    except FeatvisError:
        return state / "part-0.safetensors"
    raise AssertionError("the audit was not stopped")


def flipped_bits(place: Place, count: int, draws: random.Random) -> dict[str, str]:
    """Flip single bits of a state, half of them in its header."""
    path = stopped_state(place, "flipped")
    content, whole = path.read_bytes(), contents(State.load(path))
    header = 8 + int.from_bytes(content[:8], "little")
    held = 0
    for number in range(count):
        bit = draws.randrange(8 * (header if number % 2 else len(content)))
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            held += contents(State.load(path)) == whole
        except FeatvisError as error:
            held += "\n" not in str(error)
    return row_of(COLUMNS, "flipped bit", 1, 0, count, held, 0, "", "")


def contents(state: State) -> Any:
    """Everything in a state, to be compared."""
    assert state.metric is not None
    tensors = {"done": state.done, "marks": state.marks, **state.metric.tensors()}
    sums = {name: value.numpy().tobytes() for name, value in tensors.items()}
    return state.settings, state.skipped, state.notes, state.metric.total_stride, sums


def at_once(place: Place, rounds: int, together: int = 8) -> dict[str, str]:
    """Begin eight resumes at once: one must run, the others be refused in a line that names it."""
    held, worst = 0, 0.0
    for round_ in range(rounds):
        names = [f"at-once-{round_}-{number}" for number in range(together)]
        children = [started(place, name, 1, 0, place.folder / f"at-once-{round_}")[0] for name in names]
        codes = ended(children, 120)
        said = [place.folder / f"{name}-0.said" for name in names]
        ran = [number for number, code in enumerate(codes) if code == 0]
        named = f"process {children[ran[0]]} on " if ran else "?"
        refused = [path.exists() and path.read_text().startswith(named) for path in said]
        good = len(ran) == 1 and sum(refused) == together - 1 and sorted(codes) == [0] + [2] * (together - 1)
        found = difference(place.numbers, place.result(names[ran[0]])) if good else math.inf
        held, worst = held + (found == 0), max(worst, found)
    return row_of(COLUMNS, f"{together} resumes at once", 1, 0, rounds, held, 0, f"{worst:.1e}", "")


def marked(mark: str) -> Iterator[int]:
    """The processes whose environment holds a mark, of those that are no zombies."""
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdecimal() and f"FAULTS={mark}\0".encode() in (folder / "environ").read_bytes() + b"\0":
                yield int(folder.name)
        except OSError:
            continue


def agents(place: Place, processes: int, workers: int, count: int, draws: random.Random) -> dict[str, str]:
    """Kill torchrun's agent at a random moment of its run, and go on with what its ranks left."""
    held, longest, worst = 0, 0.0, 0.0
    arguments = (
        f"{place.folder / 'pictures'}",
        "--size",
        "16",
        "--batch-size",
        f"{BATCH}",
        "--skip-bad",
        "--device",
        "cpu",
    )
    for number in range(count):
        state, mark = place.folder / f"agent-{processes}-{workers}-{number}", uuid.uuid4().hex
        launch = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", f"{processes}")
        keep = ("--state", state.name, "--save-every", "1", "--resume", "--workers", f"{workers}")
        process = subprocess.Popen(
            [*launch, "-m", "featvis", "audit", f"{place.folder / 'nets.py'}:Net", *arguments, *keep],
            cwd=place.folder,
            env={**os.environ, "FAULTS": mark, "PAUSE": "1", "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        begun = time.monotonic()
        while len(list(marked(mark))) <= processes and time.monotonic() < begun + 120:
            time.sleep(0.01)  # until the ranks are there, though they have imported nothing yet
        if number % 4:
            while not parts(state) and time.monotonic() < begun + 120:
                time.sleep(0.05)
        time.sleep(draws.uniform(0, 5))
        process.kill()
        process.wait()
        moment = time.monotonic()
        while (left := list(marked(mark))) and time.monotonic() < moment + 120:
            time.sleep(0.05)
        seconds = time.monotonic() - moment
        for orphan in left:
            os.kill(orphan, signal.SIGKILL)
        longest = max(longest, seconds)
        kept = [int(State.load(path).done.sum()) for path in state.glob("part-*.safetensors")]
        name = f"{state.name}-resumed"
        codes = ended(started(place, name, 1, 0, state), 120)
        found = difference(place.numbers, place.result(name)) if codes == [0] else math.inf
        worst = max(worst, found)
        held += seconds < 60 and found <= SAME and (bool(kept) or number % 4 == 0)
        print(f"agent {number}: {seconds:.1f} s, kept {kept}, {found:.1e} {said_by(place, name)}", flush=True)
    return row_of(COLUMNS, "agent killed", processes, workers, count, held, "", f"{worst:.1e}", f"{longest:.1f}")


def table(rows: list[dict[str, str]]) -> str:
    """The counts as Markdown."""
    header = ("fault", "processes", "workers", "tried", "as it should", "pictures done again", "difference", "longest")
    shown = [[*list(row.values())[:7], f"{row['seconds']} s" if row["seconds"] else ""] for row in rows]
    return markdown_table(header, shown)


def main() -> None:
    torch.set_num_threads(1)
    draws, rows = random.Random(0), []
    with tempfile.TemporaryDirectory() as folder:
        place = Place.made(Path(folder))
        for processes, workers in itertools.product((1, 2, 3), (0, 2)):
            rows.append(kills(place, processes, workers, 17, draws))
            print(rows[-1], flush=True)
        rows += [flipped_bits(place, 1000, draws), at_once(place, 20)]
        print(*rows[-2:], sep="\n", flush=True)
        for processes, workers in ((2, 0), (3, 2)):
            rows.append(agents(place, processes, workers, 10, draws))
            print(rows[-1], flush=True)
    write_rows(TABLE, COLUMNS, rows)
    put_table(DOCS / "large_runs.md", "faults", table(rows))


if __name__ == "__main__":
    main()
