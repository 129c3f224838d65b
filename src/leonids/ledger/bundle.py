"""The one-file verifier that ships with every report: a reader needs Python and nothing else."""

import ast
from pathlib import Path

from leonids.ledger import lines, verify
from leonids.ledger.disk import write_whole

VERIFIER = "verify.py"


def verifier_source() -> str:
    """Return the text of a script that does what ``verify`` does: its two modules put together."""
    form, checks = (Path(str(module.__file__)).read_text(encoding="utf-8") for module in (lines, verify))
    ours = next(n for n in ast.parse(checks).body if isinstance(n, ast.ImportFrom) and n.module == lines.__name__)
    rows = checks.splitlines(keepends=True)
    rows[ours.lineno - 1 : ours.end_lineno] = [_without_docstring(form)]
    return "".join(rows)


def write_verifier(folder: Path) -> Path:
    """Put the verifier into a folder and return its path. Raises ``OutputError``."""
    path = folder / VERIFIER
    write_whole(path, verifier_source().encode())
    return path


def _without_docstring(source: str) -> str:
    first = ast.parse(source).body[0]
    return "".join(source.splitlines(keepends=True)[first.end_lineno or 0 :])
