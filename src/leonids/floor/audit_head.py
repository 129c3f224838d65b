"""The tokens of a data set's answers that a base's frozen head cannot say."""

import math
from collections.abc import Sequence

from tokenizers import Tokenizer

from leonids.floor.audit import AuditFinding
from leonids.floor.audit_sample import AnswerTokens
from leonids.floor.head import OutputHead, head_floor

LEAST_NATS = 0.01
MOST_TOKENS = 8_192
WAY_OUT = "train these tokens' rows or the head, or use other markers"


def head_findings(tokens: AnswerTokens, tokenizer: Tokenizer, head: OutputHead, *, end_id: int) -> list[AuditFinding]:
    """Return what of the answers' tokens, and of the end token, no adapter can learn below a frozen ``head``.

    Each token counts as certain where it stands: what is printed is the floor of a position with one right token.
    """
    counts = tokens.counts.copy()
    counts[end_id] += tokens.answers
    rows = head.weight.shape[0]
    outside = sorted(token for token in counts if token >= rows)
    known = [token for token, _ in counts.most_common() if token < rows]
    # The rarest tokens of a large vocabulary may be left out, special ones never.
    special = set(tokenizer.get_added_tokens_decoder())
    chosen = [token for i, token in enumerate(known) if i < MOST_TOKENS or token in special]
    found = head_floor(head, [{token: 1.0} for token in chosen])
    floors = sorted(zip(found.low, found.high, chosen, strict=True), reverse=True)
    hard = [(float(low), float(high), token) for low, high, token in floors if low > LEAST_NATS]
    total = sum(counts[token] for token in chosen)
    mean = sum(float(low) * counts[token] for low, _, token in floors) / total
    within = float((found.high - found.low).max())
    words = f"{mean:.4f} nats a token of the answers at least, certified within {within:.1g}, {len(chosen):,} tokens"
    if len(chosen) < len(known):
        words += f", the {len(known) - len(chosen):,} rarest left out"
    if not tokens.whole:
        words += f"; ordinary tokens of the first {tokens.answers:,} answers, special ones of all"
    findings = [
        AuditFinding("head", "bound", words, {"nats": mean, "within_nats": within, "tokens": len(chosen)}),
        *_hard(hard, tokenizer, counts=[counts[token] for _, _, token in hard]),
    ]
    if outside:
        says = f"{len(outside)} tokens have no row in the base's matrix: {_names(tokenizer, outside)}"
        findings.append(AuditFinding("head", "counted", says, {"tokens": outside}))
    return findings


def _hard(
    hard: Sequence[tuple[float, float, int]], tokenizer: Tokenizer, *, counts: Sequence[int]
) -> list[AuditFinding]:
    return [
        AuditFinding(
            "cannot be learnt",
            "bound",
            # Rounded outwards, so that the printed interval holds what the certified one holds.
            f"{_names(tokenizer, [token])} ({count:,} times): its least loss while the head is frozen lies between "
            f"{math.floor(low * 1e4) / 1e4:.4f} and {math.ceil(high * 1e4) / 1e4:.4f} nats: {WAY_OUT}",
            {"token": _names(tokenizer, [token]), "id": token, "low": low, "high": high, "count": count},
        )
        for (low, high, token), count in zip(hard, counts, strict=True)
    ]


def _names(tokenizer: Tokenizer, tokens: Sequence[int]) -> str:
    return ", ".join(tokenizer.id_to_token(token) or f"token {token}" for token in tokens)
