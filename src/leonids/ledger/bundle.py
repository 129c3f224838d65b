"""The one-file verifier that ships with every report: a reader needs Python and nothing else."""

import ast
from pathlib import Path

from leonids.ledger import chains, lines, verify
from leonids.ledger.disk import write_whole

VERIFIER = "verify.py"
PARTS = (lines, chains)
"""The modules that ``verify`` is put together with; each needs those before it alone."""


def verifier_source() -> str:
    """Return the text of a script that does what ``verify`` does: its modules put together."""
    parts = "".join(_without_imports(_source(part), docstring=False) for part in PARTS)
    return _without_imports(_source(verify), instead=parts)


def write_verifier(folder: Path) -> Path:
    """Put the verifier into a folder and return its path. Raises ``OutputError``."""
    path = folder / VERIFIER
    write_whole(path, verifier_source().encode())
    return path


def _source(module: object) -> str:
    return Path(str(getattr(module, "__file__", ""))).read_text(encoding="utf-8")


def _without_imports(source: str, *, instead: str = "", docstring: bool = True) -> str:
    """Return a module's text without its imports of leonids, which ``instead`` stands for."""
    rows, body = source.splitlines(keepends=True), ast.parse(source).body
    ours = [one for one in body if isinstance(one, ast.ImportFrom) and str(one.module).startswith("leonids.")]
    gone = ours if docstring else [body[0], *ours]
    for node in reversed(gone):
        rows[node.lineno - 1 : node.end_lineno] = [instead] if node in ours[:1] else []
    return "".join(rows)
