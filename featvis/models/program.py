"""The description of an exported program, read by a grammar: whatever is not in it is refused by its name.

The grammar is that of `torch/_export/serde/schema.py`, less what names code: custom objects, operators as arguments, tokens, pytrees other
than tuples, lists and dictionaries. Each reader gives the value as it is to be written again; what only tells where a program came from
(stack traces, guards) is not handed on.
"""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Callable
from typing import Any

from featvis.errors import FeatvisError
from featvis.models.operators import check_operator
from featvis.models.sizes import is_size

Reader = Callable[[Any], Any]

_MEND = "; export it again with this torch"


def read_json(text: bytes | str) -> Any:
    """JSON with each key once and finite numbers; raises FeatvisError for anything else."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise FeatvisError(f"gives {twice[:100]!r} twice{_MEND}")
        return content

    def refused(constant: str) -> Any:
        raise FeatvisError(f"holds the number {constant}{_MEND}")

    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=refused)
    except (ValueError, RecursionError):
        raise FeatvisError(f"holds a description that is not JSON{_MEND}") from None


def _no(value: Any, what: str) -> FeatvisError:
    given = repr(value)[:100] if value is None or isinstance(value, str | int | float) else f"a {type(value).__name__}"
    return FeatvisError(f"holds {given} where {what} should stand{_MEND}")


def _record(**fields: Reader) -> Reader:
    """An object with some of these fields."""

    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _no(value, "an object")
        for key in value:
            if key not in fields:
                raise FeatvisError(f"holds {key[:100]!r}, which is not known here{_MEND}")
        return {key: fields[key](item) for key, item in value.items()}

    return read


def _one_of(**kinds: Reader) -> Reader:
    """An object with exactly one of these fields, which says its kind."""
    record = _record(**kinds)

    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict) or len(value) != 1:
            raise _no(value, "an object of one kind")
        return record(value)

    return read


def _many(reader: Reader) -> Reader:
    def read(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise _no(value, "a list")
        return [reader(item) for item in value]

    return read


def _table(key: Reader, reader: Reader) -> Reader:
    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _no(value, "a table")
        return {key(name): reader(item) for name, item in value.items()}

    return read


def _optional(reader: Reader) -> Reader:
    return lambda value: None if value is None else reader(value)


def _text(pattern: str, what: str) -> Reader:
    def read(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
            raise _no(value, what)
        return value

    return read


def _only(*values: Any) -> Reader:
    def read(value: Any) -> Any:
        if not any(type(value) is type(one) and value == one for one in values):
            raise _no(value, " or ".join(map(repr, values)))
        return value

    return read


def _unread(replacement: Any) -> Reader:
    return lambda value: replacement


def _whole(value: Any) -> int:
    if type(value) is not int or abs(value) >= 2**63:
        raise _no(value, "a whole number")
    return value


def _number(value: Any) -> float | str:
    if value in ("Infinity", "-Infinity", "NaN"):
        return str(value)
    if type(value) not in (int, float) or abs(value) > 1e308:
        raise _no(value, "a number")
    return float(value)


def _name(value: Any) -> str:
    """A name that becomes one in generated Python."""
    if not isinstance(value, str) or not (value.isascii() and value.isidentifier()) or keyword.iskeyword(value):
        raise _no(value, "the name of a value")
    if value.startswith("__"):
        raise _no(value, "the name of a value")
    return value


def _size(value: Any) -> str:
    if not isinstance(value, str) or not is_size(value):
        raise FeatvisError(
            f"holds the expression {str(value)[:100]!r}, which is not a size and is not evaluated{_MEND}"
        )
    return value


def _tree(value: Any) -> str:
    """How arguments or results are nested, as JSON in a string: torch imports by name what is none of these."""
    version, tree = (
        content if isinstance(content := read_json(_printable(value)), list) and len(content) == 2 else (0, 0)
    )
    _only(1)(version)
    todo = [tree]
    node = _record(
        type=_only(None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"),
        context=_optional(_printable),
        children_spec=_many(lambda child: todo.append(child)),
    )
    while todo:
        read = node(todo.pop())
        context = read_json(read["context"]) if read.get("context") is not None else None
        keys = context if isinstance(context, list) and str(read["type"]).endswith(("dict", "Dict")) else []
        if context is not None and context != keys:
            raise _no(context, "the keys of a dictionary")
        for key in keys:
            if not isinstance(key, int):
                _printable(key)
    return str(value)


def _graph(value: Any) -> Any:
    return _GRAPH(value)


def _node(value: Any) -> dict[str, Any]:
    node: dict[str, Any] = _NODE(value)
    inputs = node["inputs"]
    check_operator(
        node["target"], [given["name"] for given in inputs], any("as_graph" in given["arg"] for given in inputs)
    )
    return node


_printable = _text(r"[ -~]*", "plain text")
_flag = _only(True, False)
_attribute = _text(r"(?!_*__)[\w\-/: ]+(\.(?!__)[\w\-/: ]+)*", "the name of a weight")
_device = _record(type=_only("cpu", "cuda", "mps", "xpu"), index=_optional(_whole))
_hint = _one_of(as_int=_whole, as_bool=_flag, as_float=_number)
_expression = _record(expr_str=_size, hint=_optional(_hint))
_length = _one_of(as_expr=_expression, as_int=_whole)
_tensor_meta = _record(
    dtype=_whole,
    sizes=_many(_length),
    requires_grad=_flag,
    device=_device,
    strides=_many(_length),
    storage_offset=_length,
    layout=_only(7),
)
_tensor = _record(name=_name)
_either = _one_of(as_tensor=_tensor, as_none=_flag)
_sym_int = _one_of(as_name=_name, as_int=_whole)
_sym_float = _one_of(as_name=_name, as_float=_number)
_sym_bool = _one_of(as_name=_name, as_bool=_flag)
_argument = _one_of(
    as_none=_flag,
    as_tensor=_tensor,
    as_tensors=_many(_tensor),
    as_int=_whole,
    as_ints=_many(_whole),
    as_float=_number,
    as_floats=_many(_number),
    as_string=_printable,
    as_strings=_many(_printable),
    as_sym_int=_sym_int,
    as_sym_ints=_many(_sym_int),
    as_scalar_type=_whole,
    as_memory_format=_whole,
    as_layout=_only(7),
    as_device=_device,
    as_bool=_flag,
    as_bools=_many(_flag),
    as_sym_bool=_sym_bool,
    as_sym_bools=_many(_sym_bool),
    as_graph=_record(name=_name, graph=_graph),
    as_optional_tensors=_many(_either),
    as_sym_float=_sym_float,
    as_sym_floats=_many(_sym_float),
    as_optional_tensor=_either,
    as_complex=_record(real=_number, imag=_number),
    as_nested_tensors=_many(_many(_tensor)),
)
_NODE = _record(
    target=_printable,
    inputs=_many(_record(name=lambda name: name and _name(name), arg=_argument, kind=_optional(_only(0, 1, 2)))),
    outputs=_many(_argument),
    metadata=_unread({}),
    is_hop_single_tensor_return=_optional(_flag),
    name=_optional(_name),
)
_GRAPH = _record(
    inputs=_many(_argument),
    outputs=_many(_argument),
    nodes=_many(_node),
    tensor_values=_table(_name, _tensor_meta),
    sym_int_values=_table(_name, _length),
    sym_bool_values=_table(_name, _one_of(as_expr=_expression, as_bool=_flag)),
    sym_float_values=_table(_name, _one_of(as_expr=_expression, as_float=_number)),
    is_single_tensor_return=_flag,
    custom_obj_values=_only({}),
)
_constant = _one_of(as_none=_flag, as_int=_whole, as_float=_number, as_string=_printable, as_bool=_flag)
_signature = _record(
    input_specs=_many(
        _one_of(
            user_input=_record(arg=_argument),
            parameter=_record(arg=_tensor, parameter_name=_attribute),
            buffer=_record(arg=_tensor, buffer_name=_attribute, persistent=_flag),
            tensor_constant=_record(arg=_tensor, tensor_constant_name=_attribute),
            constant_input=_record(name=_name, value=_constant),
        )
    ),
    output_specs=_many(
        _one_of(
            user_output=_record(arg=_argument),
            buffer_mutation=_record(arg=_tensor, buffer_name=_attribute),
            user_input_mutation=_record(arg=_tensor, user_input_name=_name),
        )
    ),
)
_call = _record(
    inputs=_many(_argument),
    outputs=_many(_argument),
    in_spec=_tree,
    out_spec=_tree,
    forward_arg_names=_optional(_many(_name)),
)

read_program = _record(
    graph_module=_record(
        graph=_graph,
        signature=_signature,
        module_call_graph=_many(_record(fqn=_text(r"[\w\-/: .@]*", "the name of a layer"), signature=_optional(_call))),
        metadata=_unread({}),
        treespec_namedtuple_fields=_only({}),
    ),
    opset_version=_table(_text(r"\w+", "the name of a set of operators"), _whole),
    range_constraints=_table(_size, _record(min_val=_optional(_whole), max_val=_optional(_whole))),
    schema_version=_record(major=_whole, minor=_whole),
    verifiers=_many(_only("ATEN", "TRAINING", "EDGE")),
    torch_version=_text(r"[\w.+<=]{1,60}", "a version"),
    guards_code=_unread([]),
)
"""The program as it is to be loaded. Raises FeatvisError that names what is not known to be harmless."""


def payload_reader(prefix: str) -> Reader:
    """Reads which file of an archive holds which tensor; their names begin with the prefix."""
    return _record(
        config=_table(
            _attribute,
            _record(
                path_name=_text(rf"{prefix}_\d+", f"{prefix}_NUMBER"),
                is_param=_flag,
                use_pickle=_only(False),
                tensor_meta=_tensor_meta,
            ),
        )
    )
