"""The floor of a universe for a reader: what `leonids floor` prints."""

import math
from dataclasses import asdict
from typing import Any

from leonids.floor.entropy import repeats
from leonids.floor.oracle import ladder, survey
from leonids.floor.renaming import RENAMING, equal_token_share, renaming_of_equal_tokens
from leonids.floor.tokens import TokenFloor
from leonids.report.sampling import WARNED_SHARE, forecast_line
from leonids.spec import load_universe
from leonids.study.conduct import plain
from leonids.study.floors import head_report, tokenizer_of
from leonids.universe.distance import distance
from leonids.universe.splits import SPLITS
from leonids.universe.universe import Universe

EXAMPLES = 20_000
FORECAST_EXAMPLES = 300_000
BAR_CHARS = 40


def floor_of(reference: str, *, tokenizer: str, base: str | None, tokens: str) -> dict[str, Any]:
    """Return the floor of a universe as JSON: nats, ceilings, token counts, the ladder, knowledge, split distances.

    With ``base`` its head's floor too.

    Raises ``SpecError`` for the universe, ``BaseError`` for the base, ``FloorError`` for the tokenizer,
    ``UsageError`` for a token set other than all and answer.
    """
    universe = Universe(load_universe(reference))
    floor = TokenFloor(universe, tokenizer_of(tokenizer))
    examples = [universe.example("train", 0, index) for index in range(EXAMPLES)]
    report = survey(universe, floor, examples, tokens=tokens, tokenizer=tokenizer)
    found: dict[str, Any] = {
        "universe": universe.spec.universe,
        "digest": universe.digest,
        "tokens": tokens,
        "tokenizer": tokenizer,
        "nats_per_example": report.nats_per_example.mean,
        "nats_per_example_se": report.nats_per_example.standard_error,
        "nats_per_token": report.nats_per_token,
        "tokens_per_example": report.tokens_per_example.mean,
        "prompt_nats": report.prompt_nats.mean,
        "answer_nats": report.answer_nats.mean,
        "ceiling": report.ceiling.mean,
        "meaning_ceiling": report.meaning_ceiling.mean,
        "examples": report.nats_per_example.n,
        "ladder": [asdict(rung) for rung in ladder(universe, examples)],
        "knowledge_nats": universe.knowledge_nats,
        "transfer": [asdict(distance(universe, split)) for split in universe.transfer_splits()],
    }
    found["repeats"] = [_repeats_of(universe, split) for split in (*SPLITS, *universe.transfer_splits())]
    if RENAMING[1] in universe.transfer_splits():
        found |= _renaming_of(universe, tokenizer)
    if base is not None:
        found["head"] = plain(asdict(head_report(universe, floor, base)))
    return found


def _repeats_of(universe: Universe, split: str) -> dict[str, Any]:
    """Return how often a split repeats itself. ``one_percent_at`` is None where it cannot be told."""
    found = repeats(universe, split)
    at = found.examples_at(WARNED_SHARE)
    return {
        "split": split,
        "collision": found.collision.mean,
        "collision_se": found.collision.standard_error,
        "exact": found.collision.exact,
        "one_percent_at": at if math.isfinite(at) else None,
        "says": forecast_line(found, FORECAST_EXAMPLES),
    }


def _renaming_of(universe: Universe, tokenizer: str) -> dict[str, Any]:
    """Return the share of renamed words of equal tokens; where spelling chose them, words of equal tokens too."""
    reads = tokenizer_of(tokenizer)
    equal = {"renamed_equal_tokens_frac": equal_token_share(universe, reads)}
    if universe.spec.transfer.renamed:
        return equal
    words, share = renaming_of_equal_tokens(universe, reads)
    return {**equal, "renamed_words": words, "renamed_words_equal_tokens_frac": share}


def _bar(value: float, whole: float) -> str:
    return "#" * round(BAR_CHARS * value / whole) if whole > 0 else ""


def floor_lines(found: dict[str, Any]) -> list[str]:
    """Return the floor as lines: a table, and a bar for where an example's nats are."""
    whole = found["prompt_nats"] + found["answer_nats"]
    error = found["nats_per_example_se"]
    lines = [
        f"universe {found['universe']} ({found['digest'][:12]}), tokens of {found['tokenizer']}, "
        f"{found['examples']} examples",
        f"floor of {found['tokens']:7s} {found['nats_per_example']:9.4f} nats/example"
        + (f" (standard error {error:.4f})" if error > 1e-12 else "")
        + f"   {found['nats_per_token']:.4f} nats/token over {found['tokens_per_example']:.1f} tokens",
        f"  prompt         {found['prompt_nats']:9.4f} {_bar(found['prompt_nats'], whole)}",
        f"  answer         {found['answer_nats']:9.4f} {_bar(found['answer_nats'], whole)}",
        f"ceiling of match {found['ceiling']:.4f}, of meaning_match {found['meaning_ceiling']:.4f}",
    ]
    lines += _ladder_lines(found["ladder"])
    if found["knowledge_nats"] > 0:
        lines.append(f"knowledge that the weights must store: {found['knowledge_nats']:.1f} nats, once")
    lines += [
        f"{far['split']:21s} from training: atoms {far['atoms']:.3f}, compounds {far['compounds']:.3f} (0 alike)"
        for far in found["transfer"]
    ]
    lines.append(found["repeats"][0]["says"])
    equal = found.get("renamed_equal_tokens_frac")
    if equal is not None:
        lines.append(f"words that transfer:renamed replaces by words of as many tokens: {equal:.0%}")
        better = found.get("renamed_words_equal_tokens_frac", equal)
        if better > equal:
            lines.append(f"  {better:.0%} with renamed_words of --json as transfer: {{renamed: [...]}} in the universe")
    head = found.get("head")
    if head is not None:
        lines += _head_lines(head)
    return lines


def _ladder_lines(rungs: list[dict[str, Any]]) -> list[str]:
    whole = max(rung["nats"] for rung in rungs)
    lines = ["the answer for a learner that knows only, nats/example (plateaus to expect):"]
    for rung in rungs:
        rough = (
            f" (of which {rung['correction_nats']:.3f} corrects the estimate)" if rung["correction_nats"] > 0 else ""
        )
        lines.append(f"  {rung['knows']:20s} {rung['nats']:9.4f} {_bar(rung['nats'], whole)}{rough}")
    return lines


def _head_lines(head: dict[str, Any]) -> list[str]:
    if head["reason"]:
        return [f"head floor: unknown: {head['reason']}"]
    roles = ", ".join(f"{role} {nats:.4f}" for role, nats in head["nats"].items())
    lines = [
        f"head floor of the answer's tokens, nats/token: {roles} "
        f"(certified within {head['within_nats']:.0e}, {head['examples']} examples)"
    ]
    hard = [(token, nats) for token, nats in head["worst"] if nats > 0.01]
    lines += [f"  {token!r} cannot be learnt below {nats:.3f} nats while the head is frozen" for token, nats in hard]
    if hard:
        lines.append("  way out: train these tokens' rows or the head, or use other markers")
    return lines
