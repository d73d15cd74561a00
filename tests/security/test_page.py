"""docs/threats.md names the tests that there are, and there is one for every threat."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "threats.md").read_text()


def numbered_tests() -> Iterator[tuple[str, str]]:
    """The file and name of each test that has a threat's number."""
    for path in sorted(HERE.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and re.match(r"test_(?!00)\d\d_", node.name):
                yield path.name, node.name


def test_the_page_names_every_test() -> None:
    """No row promises a test that is gone, and no test is left out."""
    assert set(re.findall(r"`(test_\d\d_\w+)`", PAGE)) == {name for _, name in numbered_tests()}


def test_every_threat_has_a_row_and_a_test() -> None:
    """From 1 on, none left out, each with a test of its number."""
    rows = {int(found[1]): line for line in PAGE.splitlines() if (found := re.match(r"\| (\d+) \|", line))}
    assert list(rows) == list(range(1, len(rows) + 1))
    for number, row in rows.items():
        assert re.search(rf"`test_[\d_]*{number:02}_", row), row


def test_the_files_that_are_named_exist() -> None:
    """Tests elsewhere that the page refers to are there."""
    for name in set(re.findall(r"`((?:tests|benchmarks)/[\w/]+\.py)`", PAGE)):
        assert (HERE.parents[1] / name).exists(), name
