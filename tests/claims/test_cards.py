import pytest

from leonids.claims.cards import cards, needed_for
from leonids.claims.prediction import Beyond
from leonids.claims.setting import ArmFacts, Setting

BOTH = Beyond(below="refutes", above="refutes")


def setting(seeds=5, examples=500, **more):
    arms = {n: ArmFacts(seeds=tuple(range(seeds)), rank=8, alpha_rule="equal", schedule="linear",
                        review_examples=examples) for n in ("a", "b")}  # fmt: skip
    return Setting(arms=arms, **more)


@pytest.fixture
def card(make, family):
    return lambda known, **claim: cards(family(make(**claim))["H"], known)[0]


def test_a_card_says_how_far_the_planned_seeds_can_see(card):
    few, many = (card(setting(n), expect={"above": 0.8}) for n in (3, 20))
    assert (few.n, few.unit, few.power) == (3, "seeds", None)
    assert few.says.endswith(" sd")
    far, near = (float(c.says.split("decide at ")[1].split()[0]) for c in (few, many))
    assert far > 2 * near


def test_a_card_of_one_run_has_the_exact_power_of_its_examples(card):
    claim = {"expect": {"between": (0.85, 0.95)}, "beyond": BOTH, "scope": "run"}
    assert card(setting(), **claim).power == pytest.approx(0.95, abs=0.02)
    assert card(setting(examples=100), **claim).power < 0.3


def test_a_card_with_a_pilot_has_the_power_of_its_seeds(card):
    claim = {"expect": {"coincide": 0.02}, "versus": "b", "metric": "loss"}
    assert card(setting(pilot_sd={"loss": 0.01}), **claim).power == pytest.approx(0.95, abs=0.02)


def test_more_claims_in_the_family_need_a_larger_distance(make, family):
    alone = cards(family(make("A", expect={"above": 0.8}))["H"], setting())[0]
    among = cards(family(*(make(f"A{i}", expect={"above": 0.8}) for i in range(5)))["H"], setting())[0]
    far = [float(c.says.split("decide at ")[1].split()[0]) for c in (among, alone)]
    assert far[0] > far[1]


def test_one_seed_decides_nothing(card):
    assert card(setting(1), expect={"above": 0.8}).says == "1 seed decides nothing"


def test_the_advised_number_has_the_power_it_promises(make, card):
    prediction = make(expect={"between": (0.85, 0.95)}, beyond=BOTH, scope="run")
    n = needed_for(prediction, setting())
    claim = {"expect": {"between": (0.85, 0.95)}, "beyond": BOTH, "scope": "run"}
    assert card(setting(examples=n), **claim).power >= 0.8
    assert 250 <= n <= 400
