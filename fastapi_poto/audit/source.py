"""What the code of a method touches, as far as its source says."""

import ast
import inspect
import textwrap
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

_SESSION: Final = {"session", "get_session_value", "set_session_value"}
_MUTATORS: Final = {
    *("append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse"),
    *("add", "discard", "update", "difference_update", "intersection_update", "symmetric_difference_update"),
    *("setdefault", "popitem", "appendleft", "extendleft", "popleft", "rotate", "subtract", "move_to_end"),
}

_SETS: Final = (ast.AugAssign, ast.AnnAssign)
MUTABLE: Final = (list, dict, set, bytearray, deque)


@dataclass
class Touches:
    """Of one method, with the methods of its own class that it calls."""

    session: bool = False
    user: bool = False
    """It asks who calls, so it may know that there is nobody."""
    changed: set[str] = field(default_factory=set)
    """Attributes of `self` or of the class that are changed in place."""
    assigned: set[str] = field(default_factory=set)
    """Attributes of the class that are set: `Shop.total = 1`, `type(self).total += 1`."""
    module_state: dict[str, str] = field(default_factory=dict)
    """Names of the module that are set or changed in place, and how."""


def touches(cls: type, name: str) -> Touches:
    """What a method touches; nothing if its source cannot be had."""
    found = Touches()
    _follow(cls, name, found, set())
    return found


def _follow(cls: type, name: str, found: Touches, seen: set[str]) -> None:
    function = inspect.unwrap(getattr(cls, name, None) or _nothing)
    if name in seen or not inspect.isfunction(function):
        return
    seen.add(name)
    tree = _parsed(function)
    if tree is None:
        return
    for node in ast.walk(tree):
        attribute = _own_attribute(node, cls)
        if attribute is not None:
            found.session |= attribute in _SESSION
            found.user |= attribute == "get_current_user"
            if attribute.startswith("_") or not hasattr(cls, attribute):
                _follow(cls, attribute, found, seen)
        elif isinstance(node, ast.Attribute) and node.attr == "session" and _is_context(node.value, cls):
            found.session = True
        found.changed.update(_changed(node, cls))
        found.assigned.update(_assigned(node, cls))
    found.module_state.update(_module_state(tree, function.__globals__))


def _nothing() -> None: ...


def _parsed(function: Callable[..., Any]) -> ast.AST | None:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError, IndentationError):
        return None


def _own_attribute(node: ast.AST, cls: type) -> str | None:
    """`x` of `self.x`, `cls.x`, `type(self).x` and `Shop.x`."""
    if not isinstance(node, ast.Attribute):
        return None
    value = node.value
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "type":
        return node.attr
    names = {"self", "cls", *(base.__name__ for base in cls.__mro__ if base is not object)}
    return node.attr if isinstance(value, ast.Name) and value.id in names else None


def _is_context(node: ast.AST, cls: type) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id == "current_context"
    return _own_attribute(node, cls) == "context"


def _changed(node: ast.AST, cls: type) -> Iterator[str]:
    """The attributes that a statement or a call changes in place."""
    for target in _changed_in_place(node):
        attribute = _own_attribute(target, cls)
        if attribute is not None:
            yield attribute


def _assigned(node: ast.AST, cls: type) -> Iterator[str]:
    """The attributes of the class that a statement sets."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, _SETS) else []
    for target in targets:
        attribute = _own_attribute(target, cls)
        of_instance = isinstance(target, ast.Attribute) and getattr(target.value, "id", None) == "self"
        if attribute is not None and not of_instance:
            yield attribute


def _module_state(tree: ast.AST, names: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Names of the module that the code sets, or whose lists, dicts and sets it changes, each with how."""
    nodes = list(ast.walk(tree))
    declared = {name for node in nodes if isinstance(node, ast.Global) for name in node.names}
    own = {node.arg for node in nodes if isinstance(node, ast.arg)}
    own |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)} - declared
    yield from ((f"{names.get('__name__')}.{name}", "set") for name in declared)
    for target in (target for node in nodes for target in _changed_in_place(node)):
        name = target.id if isinstance(target, ast.Name) else ""
        if name not in own | declared and isinstance(names.get(name), MUTABLE):
            yield f"{names.get('__name__')}.{name}", "changed in place"


def _changed_in_place(node: ast.AST) -> Iterator[ast.AST]:
    """What a statement or a call changes: `self.carts` of `self.carts[user][sku] = 1`."""
    targets: list[ast.AST] = []
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _MUTATORS:
        targets.append(node.func.value)
    elif isinstance(node, ast.Assign | ast.Delete):
        targets += [target.value for target in node.targets if isinstance(target, ast.Subscript)]
    elif isinstance(node, ast.AugAssign):
        targets.append(node.target)
    yield from map(_base, targets)


def _base(node: ast.AST) -> ast.AST:
    """`self.carts` of `self.carts[user][sku]`."""
    while isinstance(node, ast.Subscript):
        node = node.value
    return node
