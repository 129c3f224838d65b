"""Data that LEO did not make: what can be counted, bounded, only estimated, or not known of its floor."""

import math
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, final

from tokenizers import Tokenizer

from leonids.errors import OutputError, UsageError
from leonids.floor.audit_formats import format_of, keys_of, said_and_counted
from leonids.floor.audit_index import Index
from leonids.floor.audit_rows import Malformed, Row, read_rows
from leonids.floor.audit_sample import AnswerTokens, Lengths, NearDuplicates, Sample, compressed_nats, lengths
from leonids.floor.entropy import entropy_of
from leonids.stats.intervals import Interval, binomial_interval

Grade: TypeAlias = Literal["counted", "bound", "estimate", "unknown"]

LEVEL = 0.95
NAMED = 5
MOST_KEYS = 1_000
PROGRESS_LINES = 200_000


@final
@dataclass(frozen=True, slots=True)
class AuditFinding:
    """One line of an audit. ``grade`` says what its numbers are: counted in the file, a bound, an estimate, unknown."""

    topic: str
    grade: Grade
    says: str
    numbers: Mapping[str, Any]


@final
@dataclass(frozen=True, slots=True)
class AuditReport:
    """An audit of one file; ``tokens`` counts the answers' tokens for the head's floor."""

    file: str
    examples: int
    findings: tuple[AuditFinding, ...]
    tokens: AnswerTokens


@final
class _Reading:
    """What one pass over a file gathers; everything in it is bounded."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.examples = 0
        self.forms: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.not_text: list[int] = []
        self.malformed = 0
        self.first_malformed: list[Malformed] = []
        self.formats: Counter[str] = Counter()
        self.keys: Counter[str] = Counter()
        self.bare: dict[str, list[int]] = {}
        self.comments = 0
        self.contradictions = 0
        self.contradicting: list[int] = []
        self.sample = Sample()
        self.near = NearDuplicates()
        self.tokens = AnswerTokens(tokenizer)

    def bad(self, line: Malformed) -> None:
        """Take in what is no example."""
        self.malformed += 1
        if len(self.first_malformed) < NAMED:
            self.first_malformed.append(line)

    def add(self, row: Row) -> None:
        """Take one example in."""
        self.examples += 1
        self.forms[row.form] += 1
        self.sample.add(row)
        self.near.add(row.text)
        self.kinds[row.kind] += 1
        if row.kind != "string" and len(self.not_text) < NAMED:
            self.not_text.append(row.line)
        if row.answer is not None:
            self._answer(row.line, row.answer)

    def _answer(self, line: int, answer: str) -> None:
        self.tokens.add(answer)
        form = format_of(answer)
        self.formats[form] += 1
        keys = keys_of(answer)
        if keys is not None and (keys in self.keys or len(self.keys) < MOST_KEYS):
            self.keys[keys] += 1
        if form.startswith("bare") and len(lines := self.bare.setdefault(form, [])) < NAMED:
            lines.append(line)
        pair = said_and_counted(answer)
        if pair is not None:
            self.comments += 1
            if pair[0] != pair[1]:
                self.contradictions += 1
                if len(self.contradicting) < NAMED:
                    self.contradicting.append(line)


def audit(
    file: Path,
    tokenizer: Tokenizer,
    *,
    against: Path | None = None,
    context_tokens: int | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> AuditReport:
    """Audit a JSONL file, and its overlap with ``against``. Memory stays bounded: hashes lie in a temporary folder.

    Raises ``UsageError`` for a file that is not JSONL, or holds no example, ``OutputError`` where that folder is full.
    """
    tokenizer.no_truncation()
    tokenizer.no_padding()
    with tempfile.TemporaryDirectory(prefix="leonids-audit-", ignore_cleanup_errors=True) as folder:
        index = Index(Path(folder))
        try:
            reading = _read(file, tokenizer, index=index, progress=progress)
            findings = [*_lines(reading), *_formats(reading), *_repeats(reading, index)]
            if against is not None:
                index.add_other(_examples(against, progress=progress))
                findings += _overlaps(index, file=file.name, against=against.name)
        except sqlite3.OperationalError as error:
            raise OutputError(
                f"the hashes of {file} could not be kept in {folder} ({error})",
                rule="an audit needs some 100 bytes of temporary space for each example",
                way_out="name a folder with room in TMPDIR",
            ) from error
        finally:
            index.close()
    findings += _sampled(reading, lengths(reading.sample, tokenizer), context_tokens=context_tokens)
    return AuditReport(str(file), reading.examples, tuple(findings), reading.tokens)


def _read(file: Path, tokenizer: Tokenizer, *, index: Index, progress: Callable[[str], None]) -> _Reading:
    reading = _Reading(tokenizer)
    for row in read_rows(file):
        if isinstance(row, Malformed):
            reading.bad(row)
            continue
        reading.add(row)
        index.add(row)
        if reading.examples % PROGRESS_LINES == 0:
            progress(f"{file.name}: {reading.examples:,} examples read")
    if reading.examples == 0:
        first = reading.first_malformed[0]
        raise UsageError(
            f"{file} holds no example: line {first.line} {first.reason}",
            rule="audit reads prompt/completion, messages, Alpaca, ShareGPT and text, one JSON object a line",
        )
    index.flush()
    reading.tokens.flush()
    return reading


def _examples(file: Path, *, progress: Callable[[str], None]) -> Iterator[Row]:
    count = 0
    for row in read_rows(file):
        if isinstance(row, Row):
            count += 1
            yield row
            if count % PROGRESS_LINES == 0:
                progress(f"{file.name}: {count:,} examples read")
    if count == 0:
        raise UsageError(f"{file} holds no example", rule="--against needs a JSONL file of a known form")


def share_of(count: int, n: int) -> tuple[str, dict[str, Any]]:
    """Return a share in words and as numbers, with its exact 95 % interval."""
    interval = binomial_interval(count, n, level=LEVEL)
    if not isinstance(interval, Interval):
        return f"{count:,} of {n:,}", {"count": count, "n": n}
    words = (
        f"{count:,} of {n:,} ({count / n:.2%}; exact {LEVEL:.0%} interval {interval.low:.2%} to {interval.high:.2%})"
    )
    return words, {"count": count, "n": n, "share": count / n, "low": interval.low, "high": interval.high}


def _at(lines: list[int] | tuple[int, ...]) -> str:
    return f"; lines {', '.join(map(str, lines))}" if lines else ""


def _lines(reading: _Reading) -> list[AuditFinding]:
    forms = ", ".join(f"{name} {count:,}" for name, count in reading.forms.most_common())
    says = f"{reading.examples:,} examples, by form: {forms}"
    found = [AuditFinding("form", "counted", says, {"examples": reading.examples, "forms": dict(reading.forms)})]
    if reading.malformed:
        first = "; ".join(f"line {line.line} {line.reason}" for line in reading.first_malformed)
        numbers = {
            "count": reading.malformed,
            "first": [{"line": line.line, "reason": line.reason} for line in reading.first_malformed],
        }
        found.append(
            AuditFinding("malformed", "counted", f"{reading.malformed:,} lines are no example: {first}", numbers)
        )
    other = reading.examples - reading.kinds["string"]
    if other:
        kinds = {kind: count for kind, count in reading.kinds.items() if kind != "string"}
        listed = ", ".join(f"{kind} {count:,}" for kind, count in kinds.items())
        says = f"{other:,} answers are no strings ({listed}): many trainers stop at them{_at(reading.not_text)}"
        found.append(AuditFinding("not text", "counted", says, {"kinds": kinds, "lines": reading.not_text}))
    return found


def _formats(reading: _Reading) -> list[AuditFinding]:
    n = sum(reading.formats.values())
    if n == 0:
        says = "the text form has no border between prompt and answer: formats and conflicts cannot be told"
        return [AuditFinding("formats", "unknown", says, {})]
    nats = entropy_of(count / n for count in reading.formats.values())
    listed = ", ".join(f"{name} {count / n:.2%}" for name, count in reading.formats.most_common())
    says = (
        f"{len(reading.formats)} answer formats: {listed}; entropy {nats:.3f} nats an example, "
        "the most that they cost where no prompt announces them"
    )
    found = [AuditFinding("formats", "estimate", says, {"counts": dict(reading.formats), "entropy_nats": nats})]
    if len(reading.keys) > 1:
        more = " or more" if len(reading.keys) >= MOST_KEYS else ""
        top = "; ".join(f"{{{keys}}} {count:,}" for keys, count in reading.keys.most_common(3))
        says = f"{len(reading.keys)}{more} sets of keys among the JSON objects: {top}"
        found.append(AuditFinding("keys", "counted", says, {"sets": len(reading.keys)}))
    return [*found, *_bare(reading, n), *_comments(reading)]


def _bare(reading: _Reading, n: int) -> list[AuditFinding]:
    containers = sum(count for name, count in reading.formats.items() if name.startswith("JSON"))
    found = []
    for name, count in reading.formats.items():
        # A column of numbers is a format; numbers are a defect where most answers are objects or arrays.
        if not name.startswith("bare") or containers <= n / 2:
            continue
        words, numbers = share_of(count, n)
        cost = entropy_of((count / n, 1 - count / n))
        says = f"{name} among JSON: {words}; costs up to {cost:.3f} nats an example where not announced"
        says += _at(reading.bare[name])
        found.append(AuditFinding("bare types", "counted", says, {**numbers, "type": name, "cost_nats": cost}))
    return found


def _comments(reading: _Reading) -> list[AuditFinding]:
    if reading.comments == 0:
        return []
    words, numbers = share_of(reading.contradictions, reading.comments)
    says = f"comments that contradict the count of the data they precede: {words}{_at(reading.contradicting)}"
    return [AuditFinding("comments", "counted", says, {**numbers, "lines": reading.contradicting})]


def _repeats(reading: _Reading, index: Index) -> list[AuditFinding]:
    exact, alike = index.copies()
    words, numbers = share_of(exact, reading.examples)
    says = f"copies of an earlier example: {words}; {alike:,} up to case, white space and the writing of JSON"
    found = [AuditFinding("duplicates", "counted", says, {**numbers, "normalised": alike})]
    near, of = reading.near.count()
    if of:
        words, numbers = share_of(near, of)
        says = f"near duplicates of an earlier example among the first {of:,} that differ: {words}; by MinHash"
        found.append(AuditFinding("near duplicates", "estimate", says, numbers))
    if not reading.formats:
        return found
    said = index.conflicts()
    numbers = {name: getattr(said, name) for name in said.__dataclass_fields__}
    if said.repeated == 0:
        says = "no prompt occurs twice, so whether a prompt has one answer cannot be told from this file"
        return [*found, AuditFinding("conflicts", "unknown", says, numbers)]
    words, interval = share_of(said.conflicting, said.repeated)
    says = (
        f"{said.prompts:,} prompts have several answers ({said.by_value:,} of them with different values): {words} of "
        f"the examples whose prompt occurs again. No model that sees the prompt alone gets the answers' loss on this "
        f"file below {said.nats:.4f} nats an example, or matches more than {said.ceiling:.2%}{_at(said.lines)}"
    )
    return [*found, AuditFinding("conflicts", "bound", says, {**numbers, **interval})]


def _overlaps(index: Index, *, file: str, against: str) -> list[AuditFinding]:
    found = []
    for of, named, other in (("file", file, against), ("other", against, file)):
        overlap = index.overlap(of=of)
        words, numbers = share_of(overlap.prompt, overlap.examples)
        says = (
            f"examples of {named} whose prompt is in {other}: {words}; {overlap.normal:,} up to case and white space, "
            f"{overlap.whole:,} with the same answer"
        )
        numbers |= {"of": named, "in": other, "normalised": overlap.normal, "whole": overlap.whole}
        found.append(AuditFinding("overlap", "counted", says, numbers))
    return found


def _sampled(reading: _Reading, long: Lengths, *, context_tokens: int | None) -> list[AuditFinding]:
    rows = reading.sample.rows
    n = len(rows)
    whole = long.prompt + long.answer
    found = []
    if reading.formats:
        says = (
            f"{long.prompt / whole:.1%} of the tokens are the prompt's ({long.prompt / n:.0f} of {whole / n:.0f} an "
            f"example, {n:,} examples): the share of a loss over all tokens that says nothing of the answers"
        )
        numbers = {"share": long.prompt / whole, "prompt_tokens": long.prompt / n, "tokens": whole / n, "n": n}
        found.append(AuditFinding("prompt tokens", "estimate", says, numbers))
    nats, texts, name = compressed_nats([row.prompt for row in rows])
    of = "a prompt" if reading.formats else "a text"
    per_token = nats * n / max(long.prompt, 1)
    says = f"upper bound: at most {nats:.1f} nats {of} ({per_token:.2f} a token), by {name} on {texts:,} of them"
    found.append(AuditFinding("entropy", "bound", says, {"nats": nats, "nats_per_token": per_token, "n": texts}))
    return [*found, _context(long, context_tokens)]


def _context(long: Lengths, context_tokens: int | None) -> AuditFinding:
    counts = sorted(tokens for _, tokens in long.examples)
    line, most = long.longest
    middle, tail = counts[len(counts) // 2], counts[math.ceil(0.99 * len(counts)) - 1]
    says = f"tokens an example: median {middle:,}, 99 % at most {tail:,}, line {line} has {most:,}"
    numbers: dict[str, Any] = {"median": middle, "p99": tail, "longest": most, "line": line}
    if context_tokens is not None:
        words, interval = share_of(sum(tokens > context_tokens for tokens in counts), len(counts))
        says += f"; longer than the base's context of {context_tokens:,}: {words}"
        numbers |= {"context": context_tokens, **interval}
    return AuditFinding("lengths", "estimate", says, numbers)
