"""The house: imports go downward, one floor prints, `import featvis` is light, and nothing names the place it was written in."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import featvis

CHECKOUT = Path(__file__).parents[1]
PACKAGE = CHECKOUT / "featvis"

FLOORS = (
    ("cellar", "__init__ errors"),
    ("ground", "files compat modules grids numerals estimates windows changes costs layers distributed memory"),
    (
        "floor 0",
        "energy overlap conversions linear images checkpoints exported factories methods transforms parameterisations tracing zoo dcgan",
    ),
    (
        "floor 1",
        "models loading resume drift preparation gradients propagation predict ascent activations objectives fixes backward surgery saved",
    ),
    (
        "floor 2",
        "audit culprits repair faithfulness comparison compare verdicts generators recipe render dream dream_comparison gan",
    ),
    ("floor 3", "plots report gate testing"),
    ("floor 4", "cli commands"),
    ("roof", "__main__"),
)
"""Rooms by floor; a folder is one room. Imports go strictly downward, and rooms of one floor do not import each other."""

STAIRS = {
    ("loading", "models"): "a Model knows how a picture becomes its input",
    ("testing", "gate"): "one meaning of above a limit",
    ("gradients", "models"): "an engine takes a Model as well as a module, for its labels",
    ("objectives", "models"): "a text may name a class by the Model's labels",
    ("dream_comparison", "dream"): "the same dream, again and again",
    ("activations", "preparation"): "the form of the network that an objective reads",
    ("render", "recipe"): "does what was chosen",
    ("render", "audit"): "equalises with the profile that an audit expects",
    ("dream", "recipe"): "takes the choices",
    ("dream", "render"): "the loop, kept apart from what goes in and comes out",
    ("gradients", "preparation"): "the form of the network that the engine runs",
    ("predict", "propagation"): "the rules of each operation, kept apart from the walk over them",
    ("report", "plots"): "the colours and spectra of the figures",
    ("surgery", "fixes"): "the registry of what changes the forward pass",
    ("surgery", "backward"): "and of what changes the backward pass alone",
    ("saved", "surgery"): "applies the fixes that a file names",
    ("saved", "backward"): "and knows how many images calibrating takes",
    ("models", "saved"): "weights of a repaired copy fit only a network repaired alike",
    ("gan", "audit"): "an audit for each kind of picture",
    ("gan", "culprits"): "the same search, at samples",
    ("culprits", "audit"): "audits again, with one layer made even",
    ("comparison", "audit"): "a row holds an audit, and is written and read as one",
    ("compare", "audit"): "the same loader and checks, and an audit for each variant",
    ("compare", "comparison"): "what a run over the variants fills in",
    ("verdicts", "audit"): "what an audit comes to",
    ("verdicts", "comparison"): "and a comparison",
}
"""Imports within one floor, all there are, and why."""

PRINTS = ("cli", "commands")

HEAVY = {"matplotlib": ("plots", "report"), "timm": (), "lucent": (), "jinja2": (), "captum": (), "rich": ()}
"""Which rooms may import these at their top; elsewhere they are imported where they are used."""


def sources():
    """The package's files as text, by dotted name."""
    files = sorted(PACKAGE.rglob("*.py"))
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path.read_text(encoding="utf-8") for path in files
    }


def room(name):
    return name.removeprefix("featvis.").split(".")[0]


def imports(source, top_only=False):
    """Names of the modules that a source imports: everywhere, or only when it is itself imported."""
    found = set()
    todo = [ast.parse(source)]
    while todo:
        for node in ast.iter_child_nodes(todo.pop()):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, "imports are absolute"
                part = node.module or ""
                found.update([f"featvis.{alias.name}" for alias in node.names] if part == "featvis" else [part])
            is_later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (
                isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            )
            if not (top_only and is_later):
                todo.append(node)
    return found


def crossings(files):
    """What breaks the house's rule: a sentence for each import that does not go downward, and for each room without a floor."""
    floor_of = {name: number for number, (_, rooms) in enumerate(FLOORS) for name in rooms.split()}
    faults, used = [], set()
    for name, source in files.items():
        here = room(name)
        if here not in floor_of:
            faults.append(f"{here} has no floor; give it one in FLOORS")
            continue
        for imported in imports(source):
            there = room(imported) if imported != "featvis.__version__" else "__init__"
            if not imported.startswith("featvis.") or there == here:
                continue
            if there not in floor_of:
                faults.append(f"{here} imports {there}, which has no floor")
            elif floor_of[there] > floor_of[here]:
                faults.append(f"{here} imports {there}, which is above it")
            elif floor_of[there] == floor_of[here]:
                used.add((here, there))
                if (here, there) not in STAIRS:
                    faults.append(f"{here} imports {there} beside it; move one of them, or give the reason in STAIRS")
    return faults, used


def test_imports_go_downward():
    faults, used = crossings(sources())
    assert faults == []
    assert used == set(STAIRS), "a stair that nobody takes"
    assert not {(there, here) for here, there in STAIRS} & set(STAIRS), "a stair that leads round"


@pytest.mark.parametrize(
    ("name", "source", "said"),
    [
        ("energy", "from featvis.audit import Audit", "energy imports audit, which is above it"),
        ("energy", "def f():\n    import featvis.audit", "energy imports audit, which is above it"),
        ("energy", "from featvis import audit", "energy imports audit, which is above it"),
        ("energy", "from featvis.images import prepare", "energy imports images beside it"),
        ("zoo.classifiers", "if True:\n    from featvis.energy import fold", "zoo imports energy beside it"),
        ("models", "from featvis.gradients import Score", "models imports gradients beside it"),
        ("attic", "", "attic has no floor"),
        ("cli", "from featvis.attic import Box", "cli imports attic, which has no floor"),
    ],
)
def test_a_planted_import_is_found(name, source, said):
    assert said in " ".join(crossings({name: source})[0])


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("audit", "from featvis.energy import fold\nimport torch"),
        ("zoo.__init__", "from featvis.zoo.classifiers import Net"),
        ("commands.grad", "from featvis.commands.audit import verdict"),
        ("cli", "from featvis import __version__"),
    ],
)
def test_good_imports_pass(name, source):
    assert crossings({name: source})[0] == []


def speaking(source):
    """Calls that print or end the process."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if (
                called in ("print", "exit", "quit", "sys.exit", "os._exit", "click.echo", "breakpoint")
                or "stdout.write" in called
            ):
                found.append(called)
    return found


def test_only_the_command_line_prints_and_exits():
    assert {
        name: found for name, text in sources().items() if room(name) not in PRINTS and (found := speaking(text))
    } == {}


@pytest.mark.parametrize(
    "source", ["print(1)", "def f():\n    sys.exit(2)", "sys.stdout.write('x')", "click.echo('x')"]
)
def test_planted_speech_is_found(source):
    assert speaking(source)


def test_heavy_imports_happen_where_they_are_used():
    for name, source in sources().items():
        for imported in imports(source, top_only=True):
            allowed = HEAVY.get(imported.split(".")[0])
            assert allowed is None or room(name) in allowed, f"{name} imports {imported} at its top"


def test_commands_load_only_click_at_their_top():
    for name, source in sources().items():
        if room(name) in (*PRINTS, "__main__", "__init__"):
            known = {"click", "__future__", *sys.stdlib_module_names}
            for imported in imports(source, top_only=True):
                light = imported.split(".")[0] in known or room(imported) in (*PRINTS, "errors", "__version__")
                assert light, f"{name} imports {imported} at its top"


def test_every_file_says_what_it_is():
    for name, source in sources().items():
        assert ast.get_docstring(ast.parse(source)), name


def test_importing_featvis_is_light():
    code = "import sys, featvis; print(sorted({'torch', 'numpy', 'click', 'PIL', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=CHECKOUT)
    assert done.stdout.strip() == "[]"


def test_public_names_are_there():
    for name in featvis.__all__:
        assert getattr(featvis, name) is not None
        assert name in dir(featvis)
    with pytest.raises(AttributeError, match="module 'featvis' has no attribute 'nothing'"):
        _ = featvis.nothing


BINARY = (".png", ".safetensors", ".npz", ".npy", ".jpg", ".gif", ".pt2", ".pth", ".svg")

# Written so that this file does not find itself.
LOCAL = re.compile(r"(?<![\w.])/(?:wor[k]|hom[e]|roo[t]|User[s])/\w")
ISSUE = re.compile(r"(?<![\w&])#\d{1,5}(?![0-9A-Fa-f])|/(?:issue[s]|pul[l])/\d+|\bissue \d+")


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (LOCAL, "open('/hom" + "e/me/x')"),
        (LOCAL, "see /wor" + "k/main"),
        (ISSUE, "as asked in #" + "12"),
        (ISSUE, "(#" + "7)"),
        (ISSUE, "https://github.com/a/b/issue" + "s/3"),
    ],
)
def test_planted_places_and_numbers_are_found(pattern, text):
    assert pattern.search(text)


@pytest.mark.parametrize(
    "text", ["colour #222222", "#0072B2", "a/home/b", "&#8211;", "framework/main", "# 12 pictures"]
)
def test_other_text_is_not(text):
    assert not LOCAL.search(text)
    assert not ISSUE.search(text)


def test_tracked_files_name_no_place_and_no_issue():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        path = CHECKOUT / name
        if path.suffix in BINARY or not path.is_file():
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            for pattern in (LOCAL, ISSUE):
                found = pattern.search(line)
                assert not found, f"{name}:{number}: {found and found.group()}"
