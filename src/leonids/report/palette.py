"""Colours, markers and dashes: the same thing looks the same in every figure, in print and on the page."""

from collections.abc import Mapping, Sequence

PART_COLOURS: Mapping[str, str] = {
    "floor of the prompt": "#D0D0D0",
    "floor of the answer": "#8C8C8C",
    "head floor": "#404040",
    "prompt": "#F0E442",
    "structure": "#56B4E9",
    "copied": "#009E73",
    "decided": "#D55E00",
    "end": "#CC79A7",
}
HATCHES: Mapping[str, str] = {
    "head floor": "////",
    "prompt": "||||",
    "structure": "----",
    "copied": "\\\\\\\\",
    "decided": "...",
    "end": "xxxx",
}
"""In grey a share of the excess is told from the plain floors by its hatch alone."""

ARM_STYLES: tuple[tuple[str, str, str], ...] = (
    ("#0072B2", "o", "-"),
    ("#D55E00", "s", "--"),
    ("#009E73", "^", "-."),
    ("#CC79A7", "D", ":"),
    ("#E69F00", "v", "-"),
    ("#56B4E9", "P", "--"),
    ("#000000", "X", "-."),
)
"""Colour, marker and dash of the first arms, in the order of the study; later ones have another dash and marker."""

DASHES = ("-", "--", "-.", ":")

CORRIDOR = "#F7E1A0"


def style_of(arms: Sequence[str], arm: str) -> tuple[str, str, str]:
    """Return an arm's colour, marker and dash, by its place among the arms of the study."""
    turn, place = divmod(list(arms).index(arm), len(ARM_STYLES))
    shifted = place + turn
    return ARM_STYLES[place][0], ARM_STYLES[shifted % len(ARM_STYLES)][1], DASHES[shifted % len(DASHES)]
