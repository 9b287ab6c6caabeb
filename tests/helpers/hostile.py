"""Exported programs made hostile, from one honest archive: what is changed, by name."""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
import zipfile
from pathlib import Path

import torch
from torch import nn

from featvis.errors import FeatvisError
from featvis.models.specs import load_model


class Nested(nn.Module):
    """A graph within the graph, and a constant."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.head = nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.Linear(4, 5)
        self.shift = torch.tensor([2.0])

    def forward(self, images):
        with torch.no_grad():
            mean = (images * 2).mean()
        return self.head(torch.relu(self.norm(self.first(images))).mean((2, 3)) + mean + self.shift)


def honest(path: Path):
    """One archive, of any number of pictures and of any height."""
    torch.manual_seed(0)
    shapes = ({0: torch.export.Dim("batch", min=1, max=64), 2: 2 * torch.export.Dim("half", min=4, max=64)},)
    program = torch.export.export(Nested().eval(), (torch.rand(2, 3, 16, 16),), dynamic_shapes=shapes)
    whole = path.with_name("whole.pt2")
    torch.export.save(program, whole)

    def plain(document):
        for graph in graphs(document).values():
            for node in graph["nodes"]:
                node["metadata"] = {}

    return rewritten(whole, path, in_model(plain))


def rewritten(source, target, edit=lambda name, content: content, add=()):
    """A copy of an archive with its files edited, and some added; "ROOT" stands for its folder."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        root = old.namelist()[0].split("/")[0]
        for name in old.namelist():
            content = edit(name.removeprefix(f"{root}/"), old.read(name))
            if content is not None:
                new.writestr(name.replace(root, target.stem, 1), content)
        for name, content in dict(add).items():
            new.writestr(name.replace("ROOT", target.stem), content)
    return target


def in_json(file, change):
    """An edit of a JSON document in the archive."""

    def edit(name, content):
        if name != file:
            return content
        document = json.loads(content)
        return json.dumps(change(document) or document)

    return edit


def in_model(change):
    """An edit of the JSON that describes the program."""
    return in_json("models/model.json", change)


def call_without_quotes(mark):
    """open(mark, "w") in letters, digits, brackets and plus signs only."""
    text = lambda content: "+".join(f"chr({ord(letter)})" for letter in content)  # noqa: E731
    return f"open({text(str(mark))},{text('w')})"


class Bomb:
    """A pickle of it calls a function with arguments when it is loaded."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


OPERATORS = """
aten.from_file.default aten._print.default aten.warn.default aten.set_.source_Storage aten.set_.source_Tensor aten.set_.default
aten.set_data.default aten.set.source_Storage aten.resize_.default aten.resize_as_.default aten.resize.default aten.as_strided.default
aten.as_strided_.default aten.as_strided_scatter.default aten.empty.memory_format aten.empty_like.default aten.empty_strided.default
aten.new_empty.default aten.rand.default aten.randn.default aten.randint.default aten.bernoulli.default aten.normal_.default
aten.uniform_.default aten.manual_seed.default aten.relu.out aten.add.out aten.mul.out aten.cat.out aten.mean.out aten.copy.out
aten.data.default aten.requires_grad_.default aten._backward.default aten.retain_grad.default aten.rename_.default
aten.record_stream.default aten.pin_memory.default aten._pin_memory.default aten.unsafe_set_data.default aten.save.default
aten.sparse_resize_.default aten._resize_output_.default aten.to_sparse.default aten.quantize_per_tensor.default aten.dequantize.self
aten._copy_from.default aten._copy_from_and_resize.default aten.is_pinned.default aten.format.default aten.open.default
aten._cudnn_init_dropout_state.default aten._nested_tensor_storage_offsets.default aten._make_dep_token.default aten.lift.default
aten._validate_sparse_coo_tensor_args.default aten._fused_adam_.default aten._foreach_add_.Scalar aten.__import__.default
aten._debug_has_internal_overlap.default aten.pow_.out aten.wait_tensor.default aten.native_dropout_backward.default
prim.Print.default prim.RaiseException.default prim.NumToTensor.Scalar prim.Import.default
profiler._record_function_enter.default profiler._record_function_enter_new.default profiler._record_function_exit._RecordFunction
c10d.broadcast_.default _c10d_functional.all_reduce.default _c10d_functional.wait_tensor.default c10d_functional.broadcast.default
quantized.linear.default quantized.add.default mkldnn._linear_pointwise.default inductor.accumulate_grad_.default debugprims.load_tensor
debugprims.load_tensor.default streams.record_event.default rngprims.philox_rand.default mylib.evil.default custom.system.default
torchvision.nms.default image.read_file.default image.write_file.default image.decode_jpeg.default torchaudio.sox_io_load.default
higher_order.while_loop higher_order.map_impl higher_order.scan higher_order.associative_scan higher_order.call_torchbind
higher_order.with_effects higher_order.triton_kernel_wrapper_functional higher_order.triton_kernel_wrapper_mutation
higher_order.auto_functionalized higher_order.auto_functionalized_v2 higher_order.run_with_rng_state higher_order.run_and_save_rng_state
higher_order.out_dtype higher_order.flex_attention higher_order.hints_wrapper higher_order.tag_activation_checkpoint higher_order.wrap
higher_order.strict_mode higher_order.executorch_call_delegate higher_order.invoke_subgraph higher_order.invoke_quant higher_order.print
higher_order.autograd_function_apply higher_order.foreach_map higher_order.effectful higher_order.aoti_call_delegate
""".split()  # noqa: SIM905 (as many as this are read as text)

CALLABLES = """
torch.load torch.save torch.from_file torch.hub.load torch.hub.download_url_to_file torch.jit.load torch.jit.save torch.jit.script
torch.ops.load_library torch.classes.load_library torch.package.PackageImporter torch.os.system torch.os.popen torch.sys.exit
torch.importlib.import_module torch.builtins.eval torch.serialization.load torch.serialization.os.system torch.compile
torch.utils.cpp_extension.load_inline torch.utils.cpp_extension.load torch.UntypedStorage.from_file torch.Tensor.__reduce__
torch.Tensor.tofile torch.Tensor.set_ torch.Tensor.apply_ torch.set_default_device torch.set_default_dtype torch.set_num_threads
torch.manual_seed torch.use_deterministic_algorithms torch.export.load torch.fx.Interpreter torch.profiler.profile torch._C._jit_set_bailout
torch._C._crash_if_csrc_asan torch._C._pickle_load_obj torch.multiprocessing.spawn torch.distributed.init_process_group torch.cuda.init
torch.library.custom_op torch._dynamo.reset torch._inductor.codecache.PyCodeCache.load torch.nn.Module torch.nn.functional.relu torch.relu
torch.add torch torch.ops torch.ops.aten torch.ops.aten.relu torch.ops.aten.add torch.ops.higher_order torch.ops.aten.relu.__call__
torch.ops.aten.relu.default.__class__ torch.ops.aten.relu.default.__self__ torch.ops.aten.relu._overload_names torch.__dict__
torch.ops.aten.__class__.default torch.ops.__class__ torch.ops.aten.relu.default. torch.ops.aten.relu..default torch.ops.aten..relu.default
.torch.ops.aten.relu.default TORCH.OPS.ATEN.RELU.DEFAULT torch.ops.aten.Relu.default torch.ops.aten.relu.DEFAULT
torch.ops.aten.relu__.default torch.ops.aten._relu.default torch.ops.aten.relu.default.default torch.ops.aten/relu.default torch:relu
math.factorial math.comb math.pow math.__loader__.load_module math.__spec__.loader math.__dict__.get math.sqrt.__self__.system
_operator.methodcaller _operator.attrgetter _operator.itemgetter _operator.call _operator.pow _operator.ipow _operator.lshift
_operator.setitem _operator.delitem _operator.concat _operator.__loader__.load_module _operator.add.__self__ _operator._abs
operator.add #aten:add #executorch:system os.system posix.system subprocess.call builtins.eval builtins.__import__ eval exec __import__
importlib.import_module pickle.loads ctypes.CDLL shutil.rmtree
""".split()  # noqa: SIM905

TYPED = (
    "",
    " ",
    "torch.ops.aten.relu.default\n",
    "\ntorch.ops.aten.relu.default",
    " torch.ops.aten.relu.default",
    "torch.ops.aten.relu .default",
    "torch.ops.aten.relu\x00.default",
    "torch.ops.aten.\uff52elu.default",
    "t\u043erch.ops.aten.relu.default",
    "torch\u2024ops.aten.relu.default",
    "torch.ops.aten.relu.defau\u200blt",
    "torch.ops.aten.relu\u202e.default",
    "torch.ops.aten.relu.default;import os",
    "torch.ops.aten.relu.default or open('a', 'w')",
    "torch.ops['aten'].relu.default",
    "torch.ops.aten.from\\u005ffile.default",
    "x" * 100_000,
    None,
    7,
    ["torch.ops.aten.relu.default"],
    {"as_operator": "torch.ops.aten.relu.default"},
    True,
)

EXPRESSIONS = (
    "{open}",
    "__import__('os')",
    "__import__('os').system('true')",
    "open('a', 'w')",
    "exec('import os')",
    "eval('1')",
    "().__class__.__base__.__subclasses__()",
    "Symbol('s0').__class__",
    "Symbol.__init__.__globals__",
    "(lambda: 0)()",
    "[x for x in (1,)]",
    "s0 if 1 else 2",
    "s0; import os",
    "s0\nimport os",
    "import os",
    "exit()",
    "print(s0)",
    "srepr(s0)",
    "sympify('open(1)')",
    "parse_expr('open(1)')",
    "lambdify(s0, s0)",
    "preview(s0)",
    "plot(s0)",
    "S('open(1)')",
    "Function('f')(s0)",
    "Lambda(s0, s0)",
    "Symbol('s0); import os')",
    "Symbol('__import__')",
    "Symbol(name='s0')",
    "Symbol('s0', cls=Function)",
    "Symbol(open('a', 'w'))",
    "Symbol(*['s0'])",
    "Symbol('s0', **{})",
    "Symbol('s99999999999')",
    "Integer('1')",
    "Integer(open('a', 'w'))",
    "Float('inf')",
    "Float('1', precision=10000000000)",
    "Pow(Integer(10), Integer(1000000000))",
    "Pow(Pow(Pow(Integer(10), Integer(8)), Integer(8)), Integer(8))",
    "Pow(Integer(10), Symbol('s0'))",
    "10**10**10",
    "1 << 99999999999",
    "LShift(1, 99999999999)",
    "factorial(99999999)",
    "s0!",
    "0.[3]",
    "s0 @ s0",
    "s0 and open(1)",
    "`s0`",
    "f'{open(1)}'",
    "b'a'",
    "...",
    "None",
    "s0.args",
    "s0[0]",
    "{s0: 1}",
    "\u0455y",
    "Symbol('\uff530')",
    "s0 := 1",
    "await s0",
    "(" * 900 + "s0" + ")" * 900,
    "-" * 1900 + "1",
    "s0+" * 5000 + "s0",
    "1" * 1500,
    "",
    " ",
    "#",
    None,
    7,
    ["s0"],
)

NAMES = (
    "x=open('{mark}', 'w')",
    "a):\n    open('{mark}', 'w')\n    return (",
    "a, b",
    "a: open('{mark}', 'w')",
    "a.b",
    "a b",
    "a;b",
    "a\n",
    "a\x00",
    "a\u202e",
    "\uff41",
    "\u0430",
    "import",
    "lambda",
    "None",
    "__class__",
    "__builtins__",
    "0",
    "-1",
    "",
    "\x1b[2J",
    None,
    7,
    ["a"],
)

WEIGHTS = (
    "__class__",
    "first.__class__",
    "first.__dict__.x",
    "_modules.__init__",
    'first"); open("{mark}", "w"); ("',
    "first'",
    "first\n",
    "",
    ".",
    "a..b",
    "\u0430",
    "first\x1b[2J",
)

ARGUMENTS = (
    {"as_custom_obj": {"name": "custom_obj_0", "class_fqn": "__torch__.torch.classes.mine.Evil"}},
    {"as_operator": "torch.ops.aten.from_file.default"},
    {"as_operator": "torch.os.system"},
    {"as_operator": "torch.ops.aten.relu.default"},
    {"as_string_to_argument": {"a": {"as_operator": "torch.load"}}},
    {"as_int_lists": [[1, 2]]},
    {"as_float_lists": [[1.0]]},
    {"as_module": "os"},
    {"__class__": "os"},
    {"as_string": "\x1b[2J"},
    {"as_string": "\u202e"},
    {"as_string": ["a"]},
    {"as_int": "1"},
    {"as_int": True},
    {"as_int": 2**64},
    {"as_int": 1.5},
    {"as_float": "open('a')"},
    {"as_float": "nan"},
    {"as_ints": {"0": 1}},
    {"as_ints": "12"},
    {"as_tensor": "images"},
    {"as_tensor": {"name": "images", "class_fqn": "os"}},
    {"as_device": {"type": "cpu:0; import os", "index": None}},
    {"as_device": {"type": "privateuseone", "index": 0}},
    {"as_layout": 1},
    {"as_layout": 6},
    {"as_int": 1, "as_operator": "torch.load"},
    {},
    [],
    None,
    "as_none",
)

LEAF = {"type": None, "context": None, "children_spec": []}
ENUM = '{"__enum__": true, "fqn": "canary:Canary", "name": "A"}'
DEFAULT = '{"default_factory_module": "canary", "default_factory_name": "x", "dict_context": []}'


def tree(kind, context, *children):
    return json.dumps([1, {"type": kind, "context": context, "children_spec": list(children)}])


TREES = (
    tree("builtins.tuple", ENUM, LEAF),
    tree("builtins.list", ENUM, LEAF),
    tree("builtins.dict", f"[{ENUM}]", LEAF),
    tree("builtins.dict", f'["a", {ENUM}]', LEAF, LEAF),
    tree("builtins.dict", '["\\u001b[2J"]', LEAF),
    tree("builtins.dict", '{"a": 1}', LEAF),
    tree("collections.OrderedDict", f"[{ENUM}]", LEAF),
    tree("collections.defaultdict", DEFAULT, LEAF),
    tree("collections.namedtuple", '"canary.Canary"', LEAF),
    tree("collections.deque", ENUM, LEAF),
    tree("torch.Size", "null", LEAF),
    tree("canary.Canary", "null", LEAF),
    tree("builtins.slice", "null", LEAF),
    tree("builtins.tuple", "null", {"type": "builtins.tuple", "context": ENUM, "children_spec": []}),
    tree("builtins.tuple", "null", {**LEAF, "__enum__": True, "fqn": "canary:Canary", "name": "A"}),
    tree("builtins.tuple", "null", {**LEAF, "type": ["canary"]}),
    tree("builtins.tuple", '{"__en\\u0075m__": true, "fqn": "canary:Canary"}', LEAF),
    '[1, {"type": null, "type": "canary.Canary", "context": null, "children_spec": []}]',
    "[2, {}]",
    "[1]",
    "{}",
    "not JSON",
    "[" * 5000,
    "",
    None,
    1,
)


def nested_graph(document):
    nodes = document["graph_module"]["graph"]["nodes"]
    return next(
        arg["as_graph"]["graph"] for node in nodes for given in node["inputs"] if "as_graph" in (arg := given["arg"])
    )


def graphs(document):
    return {"top": document["graph_module"]["graph"], "nested": nested_graph(document)}


def put(place, *keys):
    """A change that puts a value at a place of the document, found by a function or by keys."""

    def change(value):
        def at(document):
            holder = place(document)
            for key in keys[:-1]:
                holder = holder[key]
            holder[keys[-1]] = value

        return at

    return change


def renamed(table, value):
    """The first key of a table becomes the value."""
    key = next(iter(table))
    table[value if isinstance(value, str) else json.dumps(value)] = table.pop(key)


def pickles(mark):
    """Pickles that would have an effect, as torch saves them and plain."""
    bombs = {
        "open": Bomb(open, str(mark), "w"),
        "eval": Bomb(eval, f"open({str(mark)!r}, 'w')"),
        "import": Bomb(__import__, "canary"),
        "torch.load": Bomb(torch.load, str(mark)),
        "from_file": Bomb(torch.UntypedStorage.from_file, str(mark), True, 16),
    }
    for name, bomb in bombs.items():
        stream = io.BytesIO()
        torch.save({"weight": bomb}, stream)
        yield name, stream.getvalue()
        yield f"plain {name}", pickle.dumps(bomb)


def variants(mark):
    """Every variant: a name, an edit of the archive's files, and files to add. mark: a file that none may make."""
    mark = str(mark)
    filled = lambda text: text.replace("{mark}", mark) if isinstance(text, str) else text  # noqa: E731
    given = [
        {"name": "filename", "arg": {"as_string": mark}, "kind": 1},
        {"name": "shared", "arg": {"as_bool": True}, "kind": 2},
    ]
    targets = (*(f"torch.ops.{name}" for name in OPERATORS), *CALLABLES, *TYPED)
    for where in ("top", "nested"):
        for target in targets:
            yield (
                f"operator {where} {target!r:.60}",
                in_model(put(lambda d, w=where: graphs(d)[w]["nodes"][0], "target")(target)),
                {},
            )
    for target in targets:

        def call(document, target=target):
            document["graph_module"]["graph"]["nodes"][0] |= {"target": target, "inputs": given}

        yield f"operator with a file name {target!r:.60}", in_model(call), {}
    for argument in ARGUMENTS:
        for where in ("top", "nested"):
            place = put(lambda d, w=where: graphs(d)[w]["nodes"][0]["inputs"][0], "arg")
            yield f"argument {where} {argument!r:.60}", in_model(place(argument)), {}
    yield from _expressions(mark)
    name_places = {
        "node": put(lambda d: d["graph_module"]["graph"]["nodes"][0], "name"),
        "output": put(lambda d: nested_graph(d)["nodes"][0]["outputs"][0]["as_tensor"], "name"),
        "input": put(lambda d: d["graph_module"]["graph"]["inputs"][-1]["as_tensor"], "name"),
        "value": lambda value: lambda d: renamed(d["graph_module"]["graph"]["tensor_values"], value),
        "argument": put(lambda d: d["graph_module"]["graph"]["nodes"][1]["inputs"][0], "name"),
        "forward": put(lambda d: d["graph_module"]["module_call_graph"][0]["signature"]["forward_arg_names"], 0),
        "graph": put(
            lambda d: next(
                g["arg"]["as_graph"]
                for n in d["graph_module"]["graph"]["nodes"]
                for g in n["inputs"]
                if "as_graph" in g["arg"]
            ),
            "name",
        ),
    }
    for place, change in name_places.items():
        for name in NAMES:
            # No name is allowed at two places, and null is a name where it is a key.
            if (place, name) not in (("node", None), ("argument", ""), ("value", None)):
                yield f"name of {place} {name!r:.40}", in_model(change(filled(name))), {}
    for name in WEIGHTS:
        target = put(lambda d: d["graph_module"]["signature"]["input_specs"][0]["parameter"], "parameter_name")
        yield f"weight {name!r}", in_model(target(filled(name))), {}
        table = lambda d, name=name: renamed(d["config"], filled(name))  # noqa: E731
        yield f"payload {name!r}", in_json("data/weights/model_weights_config.json", table), {}
    for spec in TREES:
        for side in ("in_spec", "out_spec"):
            place = put(lambda d: d["graph_module"]["module_call_graph"][0]["signature"], side)
            yield f"{side} {spec!r:.60}", in_model(place(spec)), {}
    yield from _documents()
    yield from _payloads()
    yield from _archives(mark)


def _expressions(mark):
    def first_length(document):
        values = document["graph_module"]["graph"]["tensor_values"]["images"]
        return values["sizes"][0]["as_expr"]

    def nested_length(document):
        metas = nested_graph(document)["tensor_values"].values()
        return next(size["as_expr"] for meta in metas for size in meta["strides"] + meta["sizes"] if "as_expr" in size)

    def in_table(kind, value):
        def change(document):
            document["graph_module"]["graph"][f"sym_{kind}_values"]["extra"] = {
                "as_expr": {"expr_str": value, "hint": None}
            }

        return change

    for text in EXPRESSIONS:
        value = call_without_quotes(mark) if text == "{open}" else text
        yield f"size {text!r:.60}", in_model(put(first_length, "expr_str")(value)), {}
        yield f"size nested {text!r:.60}", in_model(put(nested_length, "expr_str")(value)), {}
        for kind in ("int", "bool", "float"):
            yield f"sym_{kind} {text!r:.60}", in_model(in_table(kind, value)), {}
        if text != 7:  # as a key it is a number
            yield f"range {text!r:.60}", in_model(lambda d, v=value: renamed(d["range_constraints"], v)), {}
        size = {"as_expr": {"expr_str": value, "hint": None}}

        def payload(document, size=size):
            next(iter(document["config"].values()))["tensor_meta"]["sizes"] = [size]

        yield f"size of a weight {text!r:.60}", in_json("data/weights/model_weights_config.json", payload), {}


def _documents():
    """JSON that readers read otherwise, or that says more than is known."""
    model = "models/model.json"
    texts = {
        "a key twice": lambda t: t.replace(
            '{"graph_module"', '{"torch_version": "1", "torch_version": "2", "graph_module"', 1
        ),
        "a target twice": lambda t: t.replace('{"target"', '{"target": "torch.load", "target"', 1),
        "a name twice": lambda t: t.replace('{"name"', '{"name": "x", "name"', 1),
        "a key twice by escapes": lambda t: t.replace('{"target"', '{"t\\u0061rget": "torch.load", "target"', 1),
        "NaN": lambda t: t.replace('"as_bool": false', '"as_float": NaN', 1),
        "infinity": lambda t: t.replace('"as_bool": false', '"as_float": Infinity', 1),
        "a great number": lambda t: t.replace('"as_bool": false', '"as_int": ' + "9" * 4000, 1),
        "a greater number": lambda t: t.replace('"as_bool": false', '"as_int": ' + "9" * 9000, 1),
        "a great float": lambda t: t.replace('"as_bool": false', '"as_float": 1e999', 1),
        "depth": lambda t: "[" * 100_000 + "]" * 100_000,
        "rest": lambda t: t + "{}",
        "half": lambda t: t[: len(t) // 2],
        "a list": lambda t: f"[{t}]",
        "null": lambda t: "null",
        "nothing": lambda t: "",
        "pickle": lambda t: "cos\nsystem\n(S'true'\ntR.",
        "not UTF-8": lambda t: t.encode() + b"\xff",
        "UTF-7": lambda t: "+AHs-",
    }
    for name, change in texts.items():
        yield f"document: {name}", lambda file, content, c=change: c(content.decode()) if file == model else content, {}
    more = {
        "an unknown field": lambda d: d.update(post_load_hook="os.system"),
        "an unknown field of a node": lambda d: d["graph_module"]["graph"]["nodes"][0].update(code="import os"),
        "an unknown field of a graph": lambda d: nested_graph(d).update(code="import os"),
        "a custom object": lambda d: d["graph_module"]["graph"]["custom_obj_values"].update(
            a={"name": "a", "class_fqn": "b"}
        ),
        "a named tuple": lambda d: d["graph_module"]["treespec_namedtuple_fields"].update(
            {"canary.C": {"field_names": ["a"]}}
        ),
        "an odd verifier": lambda d: d.update(verifiers=["canary.Verifier"]),
        "an odd set of operators": lambda d: d["opset_version"].update({"canary\n": 1}),
        "an odd version": lambda d: d.update(torch_version="\x1b[2J"),
        "a token": lambda d: d["graph_module"]["signature"]["input_specs"].append({"token": {"arg": {"name": "a"}}}),
        "an object as input": lambda d: d["graph_module"]["signature"]["input_specs"].append(
            {"custom_obj": {"arg": {"name": "a", "class_fqn": "b"}, "custom_obj_name": "custom_obj_0"}}
        ),
        "a changed weight": lambda d: d["graph_module"]["signature"]["output_specs"].append(
            {"parameter_mutation": {"arg": {"name": "conv2d"}, "parameter_name": "first.weight"}}
        ),
        "an odd layer": lambda d: d["graph_module"]["module_call_graph"][0].update(fqn="a\x1b[2J"),
        "a number for a table": lambda d: d["graph_module"]["graph"].update(tensor_values=7),
        "a number for a graph": lambda d: d["graph_module"].update(graph=7),
        "a text for nodes": lambda d: d["graph_module"]["graph"].update(nodes="abc"),
        "nothing for nodes": lambda d: d["graph_module"]["graph"].update(nodes=None),
        "a sparse value": lambda d: d["graph_module"]["graph"]["tensor_values"]["images"].update(layout=1),
    }
    for name, change in more.items():
        yield f"document: {name}", in_model(change), {}


def _payloads():
    """Descriptions of weights and constants."""
    changes = {
        "pickled": {"use_pickle": True},
        "pickled by a number": {"use_pickle": 1},
        "a custom object": {"path_name": "custom_obj_0"},
        "an opaque object": {"path_name": "opaque_obj_0"},
        "a path upward": {"path_name": "../../weight_0"},
        "a path from the root": {"path_name": "/etc/passwd"},
        "another file": {"path_name": "../../models/model.json"},
        "a missing file": {"path_name": "weight_999"},
        "a file twice removed": {"path_name": "weight_0/../weight_0"},
        "an unknown field": {"loader": "os.system"},
        "no meta": {"tensor_meta": None},
    }
    metas = {
        "a device": {"device": {"type": "evil", "index": 0}},
        "a sparse layout": {"layout": 1},
        "a length by symbol": {"sizes": [{"as_expr": {"expr_str": "s0", "hint": None}}]},
        "a text for a length": {"sizes": [{"as_int": "4"}]},
    }
    for folder, config in (("weights", "model_weights_config.json"), ("constants", "model_constants_config.json")):
        for name, change in changes.items():
            edit = lambda d, c=change: next(iter(d["config"].values())).update(c)  # noqa: E731
            yield f"{folder}: {name}", in_json(f"data/{folder}/{config}", edit), {}
        for name, change in metas.items():
            edit = lambda d, c=change: next(iter(d["config"].values()))["tensor_meta"].update(c)  # noqa: E731
            yield f"{folder}: {name}", in_json(f"data/{folder}/{config}", edit), {}
        yield f"{folder}: no description", lambda n, c, f=f"data/{folder}/{config}": None if n == f else c, {}

    def emptied(name, content):
        return b"" if name == "data/weights/weight_0" else content

    yield "weights: of no values", emptied, {}


def _archives(mark):
    """Names and kinds of the archive's files."""
    same = lambda name, content: content  # noqa: E731
    for name in (
        "../escaped",
        "ROOT/../escaped",
        "ROOT/extra/../../escaped",
        mark,
        "/etc/passwd",
        "C:/windows/a",
        "ROOT\\..\\escaped",
        "ROOT/extra/a\x1b[2J",
        "ROOT/extra/\u202egnp",
        "beside",
        "ROOT//double",
        "ROOT/./dot",
        "ROOT/models/second.json",
        "ROOT/models/model.JSON",
        "ROOT/models/../models/model.json",
        "ROOT/data/aotinductor/model/a.so",
        "ROOT/data/aotinductor/model/a.wrapper.json",
        "ROOT/data/constants/custom_obj_0",
        "ROOT/data/constants/opaque_obj_0",
        "ROOT/data/weights/weights.so",
        "ROOT/data/weights/more.json",
        "ROOT/code/__torch__.py",
        "ROOT/data.pkl",
        "ROOT/constants.pkl",
        "ROOT/version",
        "version",
        "ROOT/executorch/a.pte",
        "ROOT/hooks.py",
        "ROOT/__init__.py",
        "ROOT/module_info.json",
    ):
        yield f"file {name!r}", same, {name: b"{}"}
    for place in (
        "sample_inputs/model.pt",
        "weights/model.pt",
        "constants/model.pt",
        "weights/MODEL.PT",
        "constants/custom_obj_0",
    ):
        for name, content in pickles(mark):
            drop = lambda file, old, p=place: None if file == f"data/{p}" else old  # noqa: E731
            yield f"pickle {name} in {place}", drop, {f"ROOT/data/{place}": content}


def write(folder, mark, step=1):
    """The honest archive, and every so many of its variants by name, as files."""
    source = honest(folder / "honest.pt2")
    chosen = list(variants(mark))[::step]
    return source, {
        name: rewritten(source, folder / f"v{number}.pt2", *edits) for number, (name, *edits) in enumerate(chosen)
    }


def refuse_all(folder):
    """Load every variant of a folder, between two looks at files that are not there, which a watcher from outside sees."""
    os.path.exists("watched-from-here")
    for file in sorted(folder.glob("v*.pt2")):
        try:
            load_model(str(file), device="cpu")
        except FeatvisError:
            continue
        sys.exit(f"{file} was taken")
    os.path.exists("watched-until-here")


if __name__ == "__main__":
    load_model(str(Path(sys.argv[1], "honest.pt2")), device="cpu").module(torch.zeros(1, 3, 16, 16))
    refuse_all(Path(sys.argv[1]))
