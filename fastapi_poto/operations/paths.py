"""The verb and the path of a method."""

import re
from collections.abc import Iterable

from ..errors import ConfigurationError
from ..module import PotoModule, RpcOptions
from .operation import Parameter, Source

_VERBS = ("get", "post", "put", "patch", "delete")
_PATH = r"(/(?!\.{1,2}(/|$))([A-Za-z0-9._~:@!$&'()*+,;=-]|\{\w+(:\w+)?\})+)+"


def verb_and_path(cls: type[PotoModule], name: str, options: RpcOptions, where: str) -> tuple[str, str]:
    prefix, _, rest = name.partition("_")
    verb, last = (prefix.upper(), rest) if prefix in _VERBS and rest else ("POST", name)
    if options.method is not None:
        verb = options.method.upper()
        if verb.lower() not in _VERBS:
            raise ConfigurationError(f"{where}: method={options.method!r}. Use one of {', '.join(_VERBS).upper()}.")
    if options.path is not None:
        last = options.path.strip("/")
    segment = (cls.route if isinstance(cls.route, str) else cls.__name__).strip("/")
    path = "/" + "/".join(part for part in (segment, last) if part)
    if not re.fullmatch(_PATH, path):
        raise ConfigurationError(f"{where}: {path!r} is not a path. Use letters, digits, '-', '.', '_' and '~'.")
    return verb, path


def check_path(path: str, parameters: Iterable[Parameter], where: str) -> None:
    taken = {parameter.name for parameter in parameters}
    by_fastapi = any(parameter.source is Source.DEPENDENCY for parameter in parameters)  # a dependency may take it
    for name in re.findall(r"\{(\w+)", path):
        if name not in taken and not by_fastapi:
            raise ConfigurationError(f"{where}: the path {path!r} has {{{name}}}, but no parameter has that name.")
