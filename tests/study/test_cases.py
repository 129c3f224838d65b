"""Match by case: every example counted once in each of its tags, exact intervals, and small n said to be small."""

from hypothesis import given
from hypothesis import strategies as st

from leonids.stats.intervals import binomial_interval
from leonids.study.cases import LEVEL, MOST_SHOWN, WIDE, case_lines, cases_of

TAGS = st.fixed_dictionaries(
    {"skill": st.sampled_from(["count", "sum", "names"]), "depth": st.integers(1, 3), "format": st.just("json")}
)
EXAMPLES = st.lists(st.tuples(TAGS, st.booleans()), min_size=1, max_size=60)


@given(examples=EXAMPLES)
def test_every_example_is_in_one_case_of_each_of_its_tags(examples: list) -> None:
    cases = cases_of(examples)
    for tag in ("skill", "depth", "format"):
        own = [case for case in cases if case.tag == tag]
        assert sum(case.n for case in own) == len(examples)
        assert sum(case.matches for case in own) == sum(right for _, right in examples)
        assert len({case.value for case in own}) == len(own)
        for case in own:
            assert case.matches == sum(right for tags, right in examples if tags[tag] == case.value)
            share = binomial_interval(case.matches, case.n, level=LEVEL)
            assert (case.match, case.match_low, case.match_high) == (share.estimate, share.low, share.high)


@given(examples=EXAMPLES)
def test_a_case_is_shown_where_its_tag_tells_examples_apart_and_says_where_it_is_too_few(examples: list) -> None:
    cases, shown = cases_of(examples), "\n".join(case_lines(cases_of(examples)))
    several = {tag for tag in ("skill", "depth") if len({tags[tag] for tags, _ in examples}) > 1}
    kept = [case for case in cases if case.tag in several]
    assert len(shown.splitlines()) == (1 + len(kept) if kept else 0)
    assert shown.count("too few to tell") == sum(case.match_high - case.match_low > WIDE for case in kept)


def test_a_tag_with_a_great_many_values_is_left_to_json_and_said_so() -> None:
    examples = [({"pipeline": f"p{i}", "depth": i % 2}, i % 3 == 0) for i in range(MOST_SHOWN + 1)]
    first, *rows = case_lines(cases_of(examples))
    assert f"{MOST_SHOWN + 1} values of pipeline" in first
    assert [row.split()[0] for row in rows] == ["depth", "depth"]
    assert len([case for case in cases_of(examples) if case.tag == "pipeline"]) == MOST_SHOWN + 1
