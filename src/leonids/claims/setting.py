"""What lint and power cards know of a study beside its predictions; it arrives as an argument."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeAlias, final

from leonids.claims.measure import SPLITS

AlphaRule: TypeAlias = Literal["fixed", "equal", "sqrt"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ArmFacts:
    """The plan of one arm. ``seen_frac`` is the progress of data that exist already, 0..1.

    ``foreign`` says that its data are not LEO's, so that another trainer trains it.
    ``rank`` is 0 where every weight is trained, ``steps`` 0 where the plan is not known.
    """

    seeds: tuple[int, ...]
    rank: int
    alpha_rule: AlphaRule
    schedule: str
    review_examples: int = 500
    test_examples: int = 500
    seen_frac: float = 0.0
    foreign: bool = False
    steps: int = 0


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A study as planned: its arms and reviews, and the numbers that no model can beat.

    ``floors[arm, tokens]`` is the least loss anyone can reach, data floor plus head floor, in nats a token;
    ``easy[arm, tokens]`` is what a learner reaches that knows the answers' format and reads no prompt;
    ``guess[arm, metric]`` is the share that the commonest answer alone gets right;
    ``ceilings[arm, metric]`` the best expected share of ``match``, ``format_match`` or ``meaning_match``.
    ``pilot_sd[metric]`` is the deviation between seeds (of differences, for claims with ``versus``), from runs
    that do not count. ``left_out`` are arms of the study that the plan does not train; ``splits`` are those that the
    universes of the study have. Whatever is absent is not checked.
    """

    arms: Mapping[str, ArmFacts]
    reviews: tuple[float, ...] = (1.0,)
    floors: Mapping[tuple[str, str], float] = field(default_factory=lambda: MappingProxyType({}))
    easy: Mapping[tuple[str, str], float] = field(default_factory=lambda: MappingProxyType({}))
    left_out: frozenset[str] = frozenset()
    guess: Mapping[tuple[str, str], float] = field(default_factory=lambda: MappingProxyType({}))
    ceilings: Mapping[tuple[str, str], float] = field(default_factory=lambda: MappingProxyType({}))
    pilot_sd: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    splits: tuple[str, ...] = SPLITS
