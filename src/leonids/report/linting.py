"""What is wrong with a study or a universe before anything runs: what `leonids lint` prints."""

from leonids.claims.lint import Finding, lint, refused
from leonids.claims.setting import ArmFacts, Setting
from leonids.errors import LeonidsError, SpecError
from leonids.spec import StudySpec, find_study, load_study, load_universe, shipped_universes
from leonids.study.conduct import floors_of
from leonids.study.plan import Choices, Plan, make_plan
from leonids.universe.universe import Universe

LINTED_EXAMPLES = 500


def setting_of(plan: Plan) -> Setting:
    """Return what lint needs to know of a plan: arms, reviews, floors (data and head), ceilings."""
    floors = floors_of(plan)
    arms = {}
    for arm in plan.arms:
        runs = [run for run in plan.runs if run.arm == arm]
        arms[arm] = ArmFacts(
            seeds=tuple(run.data_seed for run in runs),
            rank=runs[0].adapter.rank,
            alpha_rule=runs[0].adapter.alpha_rule,
            schedule=runs[0].schedule,
            review_examples=runs[0].review_examples,
            test_examples=runs[0].test_examples,
        )
    least = {}
    for arm, found in floors.items():
        head = found.head.nats.values()
        least[arm, "all"] = found.all.nats_per_token
        least[arm, "answer"] = found.answer.nats_per_token + (min(head) if head else 0.0)
    ceilings = {(arm, "match"): found.answer.ceiling.mean for arm, found in floors.items()}
    ceilings |= {(arm, "meaning_match"): found.answer.meaning_ceiling.mean for arm, found in floors.items()}
    return Setting(arms=arms, reviews=plan.study.reviews, floors=least, ceilings=ceilings)


def lint_universe(reference: str) -> tuple[Finding, ...]:
    """Return what is wrong with a universe: its spec, and texts with more than one derivation (rule R3)."""
    try:
        universe = Universe(load_universe(reference))
    except LeonidsError as error:
        return (refused(reference, error),)
    for index in range(LINTED_EXAMPLES):
        example = universe.example("train", 0, index)
        parses = universe.parse_prompt(example.prompt)
        if len(parses) != 1 or parses[0][0].meaning != example.meaning:
            problem = f"{example.prompt!r} has {len(parses)} derivations"
            error = SpecError(problem, rule="R3: a text has exactly one derivation", way_out="change the wording")
            return (refused(reference, error),)
    return ()


def lint_study(study: StudySpec, plan: Plan) -> tuple[Finding, ...]:
    """Return what is wrong with a study's predictions, and with the universes of its arms."""
    return lint(study.hypotheses, setting_of(plan))


def lint_reference(reference: str) -> tuple[Finding, ...]:
    """Return what is wrong with a shipped or written universe or study."""
    if reference in shipped_universes():
        return lint_universe(reference)
    try:
        path = find_study(reference)
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(f"cannot read {reference!r}", rule=str(error.strerror)) from error
    if any(line.startswith("universe:") for line in text.splitlines()):
        return lint_universe(reference)
    try:
        study = load_study(path)
        plan = make_plan(study, Choices(), beside=path.parent)
    except LeonidsError as error:
        return (refused(reference, error),)
    return lint_study(study, plan)
