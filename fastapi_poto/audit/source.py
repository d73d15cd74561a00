"""What the code of a method touches, as far as its source says."""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

_SESSION: Final = {"session", "get_session_value", "set_session_value"}
_MUTATORS: Final = {
    *("append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse"),
    *("add", "discard", "update", "difference_update", "intersection_update", "symmetric_difference_update"),
    *("setdefault", "popitem", "appendleft", "extendleft", "popleft", "rotate", "subtract", "move_to_end"),
}


@dataclass
class Touches:
    """Of one method, with the methods of its own class that it calls."""

    session: bool = False
    user: bool = False
    """It asks who calls, so it may know that there is nobody."""
    changed: set[str] = field(default_factory=set)
    """Attributes of `self` or of the class that are changed in place."""


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
    """The attribute that a statement or a call changes in place."""
    targets: list[ast.AST] = []
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _MUTATORS:
        targets.append(node.func.value)
    elif isinstance(node, ast.Assign | ast.Delete):
        targets += [target.value for target in node.targets if isinstance(target, ast.Subscript)]
    elif isinstance(node, ast.AugAssign):
        targets.append(node.target.value if isinstance(node.target, ast.Subscript) else node.target)
    for target in targets:
        attribute = _own_attribute(_base(target), cls)
        if attribute is not None:
            yield attribute


def _base(node: ast.AST) -> ast.AST:
    """`self.carts` of `self.carts[user][sku]`."""
    while isinstance(node, ast.Subscript):
        node = node.value
    return node
