"""A study as lint and power cards see it: its arms, its reviews, and what no model can beat."""

from collections.abc import Mapping, Sequence

from leonids.claims.measure import SPLITS
from leonids.claims.setting import ArmFacts, Setting
from leonids.spec import FOREIGN, RunSpec, StudySpec
from leonids.study.floors import ArmFloors


def setting_of(study: StudySpec, runs: Sequence[RunSpec], *, floors: Mapping[str, ArmFloors]) -> Setting:
    """Return what is known of planned runs before they begin. Without ``floors`` nothing is checked against them."""
    arms = {}
    for arm in dict.fromkeys(run.arm for run in runs):
        own = [run for run in runs if run.arm == arm]
        arms[arm] = ArmFacts(
            seeds=tuple(run.data_seed for run in own),
            rank=0 if own[0].adapter.method == "full" else own[0].adapter.rank,
            alpha_rule=own[0].adapter.alpha_rule,
            schedule=own[0].schedule,
            review_examples=own[0].review_examples,
            test_examples=own[0].test_examples,
            seen_frac=study.arms[arm].seen,
            steps=own[0].steps,
            foreign=study.arms[arm].universe == FOREIGN,
        )
    least = {}
    for arm, found in floors.items():
        head = [nats for role, nats in found.head.nats.items() if role != "prompt"]
        least[arm, "all"] = found.all.nats_per_token
        least[arm, "answer"] = found.answer.nats_per_token + (min(head) if head else 0.0)
    easy = {
        (arm, "answer"): found.ladder[0].nats / found.answer.tokens_per_example.mean
        for arm, found in floors.items()
        if found.ladder
    }
    guess = {(arm, metric): share for arm, found in floors.items() for metric, share in found.guess.items()}
    ceilings = {(arm, "match"): found.answer.ceiling.mean for arm, found in floors.items()}
    ceilings |= {(arm, "meaning_match"): found.answer.meaning_ceiling.mean for arm, found in floors.items()}
    splits = tuple(dict.fromkeys((*SPLITS, *(split for run in runs for split in run.transfer))))
    return Setting(
        arms=arms,
        reviews=study.reviews,
        splits=splits,
        left_out=frozenset(study.arms) - arms.keys(),
        floors=least,
        easy=easy,
        guess=guess,
        ceilings=ceilings,
    )
