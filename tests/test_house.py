"""The house: imports go downward, one room prints, `import featvis` is light, and nothing names the place it was written in."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import featvis

CHECKOUT = Path(__file__).parents[1]
PACKAGE = CHECKOUT / "featvis"

LAYERS = (
    "errors",
    "files compat",
    "measure tracing",
    "repair data",
    "predict models conversions",
    "gradients",
    "audit",
    "dream gan testing",
    "plots",
    "report",
    "commands",
    "__main__",
)
"""Rooms and ground modules from below. A room imports only from layers below its own; rooms of one layer do not know each other."""

PRINTS = ("commands",)

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
    """What breaks the house's rule: a sentence for each import that does not go downward, and for each room without a layer."""
    layer_of = {name: number for number, rooms in enumerate(LAYERS) for name in rooms.split()}
    faults = []
    for name, source in files.items():
        here = room(name)
        if here == "__init__":
            continue
        if here not in layer_of:
            faults.append(f"{here} has no layer; give it one in LAYERS")
            continue
        for imported in imports(source):
            there = room(imported)
            if not imported.startswith("featvis.") or there == here or imported == "featvis.__version__":
                continue
            if there not in layer_of:
                faults.append(f"{here} imports {there}, which has no layer")
            elif layer_of[there] > layer_of[here]:
                faults.append(f"{here} imports {there}, which is above it")
            elif layer_of[there] == layer_of[here]:
                faults.append(f"{here} imports {there} beside it")
    return faults


def circles(files):
    """Modules that import each other in a circle while they are imported: each as a list of names."""
    modules = {f"featvis.{name}".removesuffix(".__init__"): source for name, source in files.items()}
    after = {
        name: {found for found in imports(source, top_only=True) if found in modules}
        for name, source in modules.items()
    }
    found, done = [], set()

    def visit(name, way):
        if name in way:
            found.append(way[way.index(name) :])
        elif name not in done:
            for imported in sorted(after[name]):
                visit(imported, [*way, name])
            done.add(name)

    for name in sorted(modules):
        visit(name, [])
    return found


def test_imports_go_downward():
    assert crossings(sources()) == []


def test_no_module_imports_itself_through_others():
    assert circles(sources()) == []


def test_a_planted_circle_is_found():
    files = {
        "audit.run": "from featvis.audit.gate import f",
        "audit.gate": "if True:\n    from featvis.audit.run import g",
    }
    assert circles(files) == [["featvis.audit.gate", "featvis.audit.run"]]


@pytest.mark.parametrize(
    ("name", "source", "said"),
    [
        ("measure.phases", "from featvis.audit.record import Audit", "measure imports audit, which is above it"),
        ("measure.phases", "def f():\n    import featvis.audit.run", "measure imports audit, which is above it"),
        ("measure.phases", "from featvis import audit", "measure imports audit, which is above it"),
        ("measure.phases", "from featvis.tracing.grids import Grid", "measure imports tracing beside it"),
        ("dream.render", "if True:\n    from featvis.gan import board", "dream imports gan beside it"),
        ("attic.box", "", "attic has no layer"),
        ("commands.cli", "from featvis.attic import Box", "commands imports attic, which has no layer"),
    ],
)
def test_a_planted_import_is_found(name, source, said):
    assert said in " ".join(crossings({name: source}))


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("audit.run", "from featvis.measure.phases import fold\nimport torch"),
        ("models.zoo.__init__", "from featvis.models.zoo.classifiers import Net"),
        ("commands.grad", "from featvis.commands.audit import verdict"),
        ("commands.cli", "from featvis import __version__"),
    ],
)
def test_good_imports_pass(name, source):
    assert crossings({name: source}) == []


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


def test_one_module_writes_json():
    assert [name for name, text in sources().items() if re.search(r"\bjson\.dumps?\(", text)] == ["files"]


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


LONGEST = 400
"""Lines of a file."""

MOST = 8
"""Parameters of a function, but for commands, which have one for each option, and layers, which follow torch.nn."""


def crowded(files):
    """Functions with more parameters than can be read at once."""
    found = []
    for name, source in files.items():
        if name.startswith(("commands.", "repair.layers.")):
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                if len([one for one in given if one.arg not in ("self", "cls")]) > MOST:
                    found.append(f"{name}.{node.name}")
    return found


def test_no_function_has_too_many_parameters():
    assert crowded(sources()) == []


@pytest.mark.parametrize(
    ("name", "source", "found"),
    [
        ("audit.run", "class A:\n def f(self, a, b, c, d, *, e, f, g, h): pass", []),
        ("audit.run", "class A:\n def f(self, a, b, c, d, *, e, f, g, h, i): pass", ["audit.run.f"]),
        ("commands.run", "def f(a, b, c, d, e, f, g, h, i): pass", []),
    ],
)
def test_planted_parameters_are_counted(name, source, found):
    assert crowded({name: source}) == found


def overlong(files):
    """Files that want to be two."""
    return [name for name, source in files.items() if len(source.splitlines()) > LONGEST]


def test_no_file_is_too_long():
    assert overlong(sources()) == []


def test_a_planted_long_file_is_found():
    assert overlong({"audit.run": "x = 1\n" * LONGEST, "audit.gate": "x = 1\n" * (LONGEST + 1)}) == ["audit.gate"]


ACROSS = {
    "audit": "monitor",
    "commands": "faults once one_finding pages view_networks",
    "plots": "figures",
    "report": "browser pages",
}
"""Tests of a room that are about more than one of its modules."""


def homeless(tests, modules):
    """Test files of the package's rooms that stand beside no module; `a/test_b.py` is about `a/b.py`, or about all of `a/b/`."""
    found = []
    for path in tests:
        here, tested = path.parent, path.stem.removeprefix("test_")
        known = (here / f"{tested}.py" in modules) or any(here / tested in module.parents for module in modules)
        if not known and tested not in ACROSS.get(str(here), "").split():
            found.append(path.as_posix())
    return found


def test_tests_stand_where_what_they_test_stands():
    tests = [path.relative_to(CHECKOUT / "tests") for path in (CHECKOUT / "tests").rglob("test_*.py")]
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    modules = {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py")}
    assert homeless([path for path in tests if path.parts[0] in rooms], modules) == []


def test_a_planted_test_without_a_module_is_found():
    tests = [Path("audit/test_run.py"), Path("audit/test_old.py"), Path("repair/test_layers.py")]
    assert homeless(tests, {Path("audit/run.py"), Path("repair/layers/blur.py")}) == ["audit/test_old.py"]


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
