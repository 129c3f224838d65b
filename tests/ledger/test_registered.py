import math
import unicodedata

import pytest

from leonids.errors import IntegrityError, UsageError
from leonids.ledger.entry import Entry
from leonids.ledger.registered import registered

H1 = {"id": "H1", "says": "é at 60 %", "expect": {"between": [0.3, 0.4]}, "families": ("a", "b")}


def test_registering_the_same_again_adds_nothing(ledger):
    first = ledger.register([H1, {"id": "H2"}])
    count = ledger.head().count
    assert ledger.register([{"id": "H2"}, H1]) == first
    assert ledger.head().count == count


def test_only_new_predictions_enter_a_later_registration(ledger):
    first, second = ledger.register([H1]), ledger.register([H1, {"id": "H2"}])
    assert second[0] == first[0]
    assert [p["id"] for p in second[1].body["predictions"]] == ["H2"]


@pytest.mark.parametrize(
    "edited",
    [
        {**H1, "expect": {"between": [0.3, 0.5]}},
        {**H1, "says": "E at 60 %"},
        {**H1, "extra": None},
        {key: value for key, value in H1.items() if key != "families"},
    ],
)
def test_an_edited_prediction_is_refused_and_told_to_amend(ledger, edited):
    ledger.register([H1])
    count = ledger.head().count
    with pytest.raises(UsageError, match=r"H1 was locked by ledger entry 2 .*amend it with a reason"):
        ledger.register([{"id": "H0"}, edited])
    assert ledger.head().count == count


def test_true_is_not_one(ledger):
    ledger.register([{"id": "H1", "x": 1}])
    with pytest.raises(UsageError, match="x 1 and now has true"):
        ledger.register([{"id": "H1", "x": True}])


def test_a_text_in_another_unicode_form_is_the_same_prediction(ledger):
    apart = {**H1, "says": unicodedata.normalize("NFD", H1["says"])}
    assert apart != H1
    assert ledger.register([H1]) == ledger.register([apart])


@pytest.mark.parametrize("bad", [{}, {"id": ""}, {"id": 3}, {"id": "H1", "x": math.nan}, {"id": "H1", "x": math.inf}])
def test_what_cannot_be_locked_is_refused(ledger, bad):
    with pytest.raises(UsageError):
        ledger.register([bad])


def test_an_id_names_one_prediction(ledger):
    with pytest.raises(UsageError, match="H1 is given twice"):
        ledger.register([H1, {"id": "H1"}])


def test_an_amendment_leaves_the_old_version_standing(ledger):
    ledger.register([H1])
    ledger.amend({**H1, "says": "new"}, reason="the unit was wrong")
    one, two = registered(ledger.entries())["H1"]
    assert (one.version, one.prediction["says"], one.reason) == (1, H1["says"], "")
    assert (two.version, two.prediction["says"], two.reason) == (2, "new", "the unit was wrong")
    assert ledger.register([H1]) == ledger.register([{**H1, "says": "new"}])


def test_changing_needs_a_reason_something_registered_and_a_difference(ledger):
    ledger.register([H1])
    for attempt in (
        lambda: ledger.amend({**H1, "says": "new"}, reason=" "),
        lambda: ledger.amend(H1, reason="same"),
        lambda: ledger.amend({"id": "H9"}, reason="unknown"),
        lambda: ledger.withdraw("H9", reason="unknown"),
        lambda: ledger.withdraw("H1", reason=""),
    ):
        with pytest.raises(UsageError):
            attempt()


def test_a_withdrawn_prediction_stays_visible_and_cannot_come_back(ledger):
    ledger.register([H1])
    ledger.withdraw("H1", reason="no such arm")
    assert [version.withdrawn for version in registered(ledger.entries())["H1"]] == ["no such arm"]
    with pytest.raises(UsageError, match="withdrawn"):
        ledger.amend({**H1, "says": "new"}, reason="again")
    with pytest.raises(UsageError, match="amend"):
        ledger.register([{**H1, "says": "new"}])


@pytest.mark.parametrize(
    "forged",
    [
        [("register", {"predictions": [{"id": "H1"}]})] * 2,
        [("amend", {"prediction": {"id": "H1"}, "reason": "x"})],
        [("withdraw", {"prediction": "H1", "reason": "x"})],
        [("register", {})],
    ],
)
def test_registrations_that_the_ledger_does_not_write_are_refused_on_reading(forged):
    with pytest.raises(IntegrityError):
        registered([Entry(1, seq, "", kind, "", body, "") for seq, (kind, body) in enumerate(forged)])
