"""What a run was made with: configuration, code, packages, machine; without secrets."""

import hashlib
import json
import platform
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from leonids.digest import Json
from leonids.errors import UsageError
from leonids.ledger.lines import MANIFEST

SECRET_NAME = re.compile(
    r"(?i:secret|passw(or)?d|credential|authorization|private_?key|(api|access|auth|hub|hf|bearer)_?(key|token)s?$)"
    r"|^[A-Z0-9_]*(KEY|TOKEN)$"
)
SECRET_TEXT = re.compile(r"\b(hf|sk|ghp|gho|github_pat|glpat)[_-][A-Za-z0-9_-]{16,}|(?<=://)[^/\s@]+(?=@)")
REDACTED = "[redacted]"


def describe(config: Json, *, universe_digest: str, device: str, packages: Sequence[str]) -> dict[str, Json]:
    """Return a run's manifest: its resolved configuration and all that could make the same one run differently.

    ``packages`` are names of distributions; one that is not installed is stated as absent (null).
    """
    return {
        "config": config,
        "universe_digest": universe_digest,
        "device": device,
        "code_digest": code_digest(),
        "packages": {name: _version(name) for name in sorted(packages)},
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def code_digest() -> str:
    """Return one SHA-256 over the names and contents of this package's Python files."""
    root = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()


def manifest_bytes(manifest: Mapping[str, Json]) -> bytes:
    """Return the manifest as the bytes of its file, secrets redacted. Raises ``UsageError`` for what is not JSON."""
    try:
        text = json.dumps(redacted(dict(manifest)), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        return f"{text}\n".encode()
    except (TypeError, ValueError) as error:
        raise UsageError(f"the run's manifest cannot be written ({error})", rule="a manifest is JSON") from None


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return what a run's manifest says; nothing where there is none, or none that can be read (``verify`` says so)."""
    try:
        found = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def redacted(value: Json) -> Json:
    """Return ``value`` with what looks like a secret, by its name or by its form, replaced.

    >>> redacted({"HF_TOKEN": "abc", "tokens": "answer", "url": "https://me:pw@host/x"})
    {'HF_TOKEN': '[redacted]', 'tokens': 'answer', 'url': 'https://[redacted]@host/x'}
    """
    if isinstance(value, Mapping):
        return {
            name: REDACTED if SECRET_NAME.search(name) and isinstance(item, str) else redacted(item)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted(item) for item in value]
    return SECRET_TEXT.sub(REDACTED, value) if isinstance(value, str) else value


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
