import numpy as np

from leonids.report.numbers import Missing
from leonids.report.reliability import Reliability, reliability
from leonids.study.streams import Table, table_of


def rows(confidence: np.ndarray, right: np.ndarray, *, tokens: int = 1) -> Table:
    return table_of(
        [
            {
                "step": 1,
                "metrics": {
                    "confidence": {"decided": [float(c), tokens]},
                    "token_accuracy": {"decided": [int(r), tokens]},
                },
            }
            for c, r in zip(confidence, right, strict=True)
        ]
    )


def test_honest_confidence_is_near_its_chance_value_and_boasting_is_far_from_it() -> None:
    rng = np.random.default_rng(3)
    confidence = rng.random(2000)
    honest = reliability(rows(confidence, rng.random(2000) < confidence))
    # Right half as often as said: the error is the mean gap, 0.25, less what smoothing takes; chance is below 0.03.
    boasting = reliability(rows(confidence, rng.random(2000) < confidence / 2))
    assert isinstance(honest, Reliability)
    assert isinstance(boasting, Reliability)
    assert honest.error.value < 2 * honest.error.null
    assert boasting.error.value > 4 * boasting.error.null
    assert sum(part.right.n for part in honest.bins) == honest.n == 2000


def test_answers_of_several_decided_tokens_are_not_units() -> None:
    assert isinstance(reliability(rows(np.full(9, 1.5), np.full(9, 1), tokens=2)), Missing)


def test_the_first_decided_token_speaks_for_an_answer_of_several() -> None:
    lines = [
        {"step": 1, "metrics": {"confidence": {"decided": [1.4, 2]}, "token_accuracy": {"decided": [1, 2]}},
         "answer": {"roles": "sddse", "said": [None, said, None, None, None], "confidence": [0.9, sure, 0.5, 0.9, 0.9]}}
        for said, sure in ((None, 0.8), ("no", 0.6), (None, 0.7), ("no", 0.2))
    ]  # fmt: skip
    found = reliability(table_of(lines))
    assert isinstance(found, Reliability)
    assert (found.n, found.of) == (4, "the first decided token")
    assert [(part.confidence, part.right.estimate) for part in found.bins] == [(0.2, 0), (0.6, 0), (0.7, 1), (0.8, 1)]
