"""An audit of other people's data for a reader: what `leonids audit` prints."""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from leonids.errors import BaseError
from leonids.floor.audit import AuditFinding, audit
from leonids.floor.audit_head import head_findings
from leonids.floor.base_files import find_base, read_facts, read_head, read_tokenizer
from leonids.report.escape import visible

MOST_CHARS = 600


def audit_of(
    file: Path, *, against: Path | None, base: str | None, progress: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Return the audit of a JSONL file as JSON, with ``base`` the head's floor of its answers' tokens too.

    Raises ``UsageError`` for a file that is not JSONL, ``BaseError`` for the base.
    """
    folder = find_base(base or "nano")
    facts, tokenizer = read_facts(folder), read_tokenizer(folder)
    began = time.perf_counter()
    # The shipped base lends its tokenizer; its context is no bound on somebody else's model.
    context = facts.context_tokens if base is not None else None
    report = audit(file, tokenizer, against=against, context_tokens=context, progress=progress)
    read_s = time.perf_counter() - began
    findings = list(report.findings)
    head_s: float | None = None
    if base is not None and report.tokens.answers:
        began = time.perf_counter()
        try:
            findings += head_findings(report.tokens, tokenizer, read_head(folder), end_id=facts.eos_id)
        except BaseError as error:
            findings.append(AuditFinding("head", "unknown", error.problem, {}))
        head_s = time.perf_counter() - began
    return {
        "file": report.file,
        "examples": report.examples,
        "tokenizer": base or "nano",
        "findings": [asdict(finding) for finding in findings],
        "read_s": round(read_s, 2),
        "head_s": None if head_s is None else round(head_s, 2),
    }


def audit_lines(found: dict[str, Any]) -> list[str]:
    """Return an audit as lines: each says whether it was counted, is a bound, an estimate, or unknown."""
    lines = [
        f"{finding['grade']:9s} {finding['topic']:16s} {visible(finding['says'], most=MOST_CHARS)}"
        for finding in found["findings"]
    ]
    head = "" if found["head_s"] is None else f", head in {found['head_s']:.1f} s"
    took = f"read in {found['read_s']:.1f} s{head}"
    hint = "" if head else " (name your own model with --base)"
    return [f"{visible(found['file'])}: tokens of {visible(found['tokenizer'])}{hint}, {took}", *lines]
