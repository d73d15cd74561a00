"""What a client is to be able to, and what each tool is known not to be able to: the table in docs/clients.md."""

import re
from pathlib import Path

ABILITIES = {
    "strict": "generated code compiles strictly",
    "visitor": "sign in as a visitor, call with the token",
    "sign_in": "take a name, sign in by the OAuth2 form, refresh, sign out",
    "body": "arguments in a JSON body",
    "optional": "arguments left out, or null",
    "query": "query arguments, lists and dates among them",
    "union": "a discriminated union in and out",
    "nullable": "a value or `null`",
    "types": "every type there and back",
    "big_integer": "integers past 2^53",
    "no_content": "204",
    "unauthenticated": "401 and its body",
    "forbidden": "403 and its body",
    "declared_errors": "declared errors (404, 409) and their data",
    "invalid": "422 and its list",
    "upload": "upload",
    "download": "download",
    "byte_stream": "stream of bytes",
    "stream": "stream, item by item",
    "stream_early_error": "stream that fails before its first item",
    "stream_error": "stream that fails in the middle",
    "resume": "stream resumed after a cut",
}

_SSE = "it has no reader of event streams: the answer comes as text, for a reader such as eventsource-parser"
_NO_STREAM_PYTHON = (
    "it raises `TypeError` on a stream, whose text it takes for one JSON document: "
    "read the path with its `client.get_httpx_client()` and httpx-sse"
)
NO_STREAMS = {"stream": _SSE, "stream_error": _SSE, "resume": _SSE}

LACKS: dict[str, dict[str, str]] = {
    "openapi-typescript": NO_STREAMS,
    "@hey-api/openapi-ts": {
        "stream_early_error": "its event-stream reader throws away the body of an answer that is not 200, "
        "and tells only the status",
    },
    "orval": NO_STREAMS,
    "openapi-generator typescript-fetch": NO_STREAMS,
    "openapi-generator python": NO_STREAMS
    | {
        "strict": "mypy stumbles over its unions within unions, and where its import of pydantic's `ValidationError` "
        "meets the document's: both in the models of streams alone",
    },
    "openapi-python-client": dict.fromkeys(NO_STREAMS, _NO_STREAM_PYTHON)
    | {"strict": "mypy --strict finds the `__exit__` of its client class wrong, which is the same for every document"},
    "swagger-client": NO_STREAMS | {"strict": "it makes no code"},
}
"""By tool and ability, why not. A test fails as soon as one of these works."""

NARROWS = {
    "one": "a declared error that is alone with its status",
    "several": "several of one status",
    "other": "an unknown code has a branch of its own",
    "early": "before a stream",
    "texts": "in a stream of texts",
    "models": "in a stream of models",
    "members": "in a stream of models with members `code` and `detail`",
}
"""What can be told by `code`, with its `data` typed, without one cast, under `tsc --strict` or `mypy --strict`."""

_UNKNOWN = "it raises `ValueError` for a code that it has not been generated for"
NARROWS_NOT: dict[str, dict[str, str]] = {
    "@hey-api/openapi-ts": {},
    "openapi-typescript": {},
    "orval": {},
    "kubb": {},
    "openapi-generator typescript-fetch": {},
    "swagger-typescript-api": {},
    "typed-openapi": dict.fromkeys(
        ("texts", "models", "members"),
        "the items of a stream are `unknown` to it: name the components",
    ),
    "openapi-python-client": {"other": _UNKNOWN} | dict.fromkeys(("texts", "models", "members"), _NO_STREAM_PYTHON),
}


class Table:
    """What a run has seen of each tool, held against what is known of it, and written into the page."""

    def __init__(self, mark: str, abilities: dict[str, str], lacks: dict[str, dict[str, str]]) -> None:
        self.abilities = abilities
        self.lacks = lacks
        self.found: dict[str, tuple[str, dict[str, str | None]]] = {}
        """By tool, its version, and by ability None or what was wrong."""
        self._marks = re.compile(rf"(?<=<!-- {mark}: begin -->\n).*?(?=<!-- {mark}: end -->)", re.DOTALL)

    def check(self, tool: str, version: str, result: dict[str, str | None]) -> None:
        """Keep what was seen for the table; raise unless it is what is known of the tool."""
        lacks = self.lacks.get(tool, {})
        self.found[tool] = (version, result)
        unknown = set(result) - set(self.abilities)
        assert not unknown, f"no such abilities: {unknown}"
        wrong = {name: error for name, error in result.items() if error is not None and name not in lacks}
        untried = [name for name in self.abilities if name not in result and name not in lacks]
        learned = [name for name in lacks if name in result and result[name] is None]
        assert not wrong, f"{tool} {version}: {wrong}"
        assert not untried, f"{tool}: its driver does not try {untried}"
        assert not learned, f"{tool} {version} has learned {learned}: take it out of what it lacks"

    def markdown(self) -> str:
        """The table of what was found, and under it why not."""
        found = self.found
        tools = [tool for tool in self.lacks if tool in found]
        notes: list[str] = []
        rows = [["", *(tool.replace(" ", "<br>") for tool in tools)], ["---", *([":-:"] * len(tools))]]
        rows.append(["version", *(found[tool][0].replace(" with ", "<br>") for tool in tools)])
        for name, title in self.abilities.items():
            row = [title]
            for tool in tools:
                if found[tool][1].get(name, "") is None:
                    row.append("yes")
                    continue
                note = f"{self.lacks[tool].get(name, found[tool][1].get(name))}."
                if note not in notes:
                    notes.append(note)
                row.append(f"no ({notes.index(note) + 1})")
            rows.append(row)
        lines = [f"| {' | '.join(row)} |" for row in rows]
        why = [f"{number}. {note[:1].upper()}{note[1:]}" for number, note in enumerate(notes, 1)]
        return "\n".join([*lines, "", *why, ""])

    def write(self) -> None:
        """Put the table into the page, if this run has seen every tool."""
        if set(self.found) == set(self.lacks):
            text = PAGE.read_text(encoding="utf-8")
            assert len(self._marks.findall(text)) == 1, f"{PAGE.name} has lost the marks of its table"
            PAGE.write_text(self._marks.sub(lambda _: self.markdown(), text), encoding="utf-8")


PAGE = Path(__file__).parent.parent.parent / "docs" / "clients.md"
CALLS = Table("table", ABILITIES, LACKS)
NARROWING = Table("narrowing", NARROWS, NARROWS_NOT)
check = CALLS.check
