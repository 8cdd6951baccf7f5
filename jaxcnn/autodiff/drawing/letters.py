"""How wide a line of text is drawn, without asking for a font."""

import unicodedata
from typing import NamedTuple


class Style(NamedTuple):
    """How text is set: the font's size and the line's height in pixels, and whether it is bold."""

    size: float
    height: float
    bold: bool = False


TEXT = {  # by the kind of a line
    "title": Style(13, 18, bold=True),
    "value": Style(12, 16),
    "tangent": Style(12, 16),
    "adjoint": Style(12, 16),
    "note": Style(11, 15),
    "plain": Style(12, 16),
}
LABEL = Style(11, 15)  # of an edge
FRAME = Style(11, 18, bold=True)  # the title of a group

# Advance widths of DejaVu Sans, in thousandths of the font size, from " " to "~". Helvetica,
# Arial and Liberation Sans are narrower in every letter, so text that fits here fits there.
_ASCII = (
    "318 401 460 838 636 950 780 275 390 390 500 838 318 361 318 337 636 636 636 636 636 636 636 "
    "636 636 636 337 337 838 838 838 531 1000 684 686 698 770 632 575 775 752 295 295 656 557 863 "
    "748 787 603 787 695 635 611 732 684 989 685 611 685 390 337 390 838 500 500 613 635 550 635 "
    "615 352 635 634 278 278 579 278 974 634 612 635 635 411 521 392 634 592 818 592 592 525 636 "
    "337 636 838"
)
_WIDTHS = {chr(32 + i): int(width) for i, width in enumerate(_ASCII.split())}
_GREEK = 764  # Ω, but for ω, Φ and Ψ the widest letter
_OTHER = 900  # operators and arrows; √, ∂ and · are narrower
_IDEOGRAPH = 1000
_SMALL = 0.7  # the size of sub- and superscripts beside the letter's
_BOLD = 1.15


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """The width of a line of text in pixels, rather too wide than too narrow.

    Combining marks (the bar of v̄, the dot of v̇) take no room of their own, sub- and superscripts
    take 0.7 of their letter's.

    Args:
        text: one line.
        size: the font's size, in pixels.
        bold: whether it is drawn bold.

    Returns:
        pixels.

    Example:
        >>> text_width("v1", 10.0), text_width("v̄1", 10.0)  # 592 + 636 thousandths of 10
        (12.28, 12.28)

    """
    total = sum(_thousandths(letter) for letter in text)
    return total * size / 1000 * (_BOLD if bold else 1)


def _thousandths(letter: str) -> float:
    if letter in _WIDTHS:
        return _WIDTHS[letter]
    if unicodedata.combining(letter):
        return 0
    # Subscripts and accented letters are made of simpler ones; NFKD says which.
    parts = unicodedata.normalize("NFKD", letter)
    scale = _SMALL if unicodedata.decomposition(letter).startswith(("<sub>", "<super>")) else 1
    if parts != letter:
        return scale * sum(_thousandths(part) for part in parts)
    if unicodedata.east_asian_width(letter) in "WF":
        return _IDEOGRAPH
    return _GREEK if "GREEK" in unicodedata.name(letter, "") else _OTHER
