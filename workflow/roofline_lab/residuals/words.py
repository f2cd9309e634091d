"""Constants and suggestions in words: what a fitted term means in units a person can judge."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from roofline_lab.formatting import MISSING, pct, signless_zero
from roofline_lab.residuals.ranking import Suggestion
from roofline_lab.residuals.record import LABELS
from roofline_lab.residuals.terms import BY_NAME

US_PER_MS = 1000.0
# Rivals named in a sentence; a longer list says the data do not decide.
NAMED = 3
# From here on numbers are printed whole.
THOUSAND = 1000.0


def constant_text(one: Suggestion) -> str:
    """Return the constant with its unit, and what a rate implies."""
    if one.constant is None:
        return MISSING
    scale, unit = _scale(one)
    implied = implied_text(one)
    bound = ""
    if one.at_bound:
        bound = ", the most that is plausible" if one.constant == one.most else ", the least that physics allows"
    return f"{_number(one.constant * scale)} {unit}{f' ({implied})' if implied else ''}{bound}"


def interval_text(one: Suggestion) -> str:
    """Return the interval of the constant, in the unit of `constant_text`."""
    if one.low is None or one.high is None:
        return MISSING
    scale, _ = _scale(one)
    return f"{_number(one.low * scale)} to {_number(one.high * scale)}"


def implied_text(one: Suggestion) -> str:
    """Return what share of the peak a rate comes out at, and from which; empty for a cost."""
    if one.term.kind != "rate" or not one.constant or one.spent is None:
        return ""
    now = f"{1 / (one.spent + one.constant):.2f} of peak"
    return f"{now} instead of {1 / one.spent:.2f}" if one.spent else now


def sentence(ranked: Sequence[Suggestion], metric: str, harmful: Collection[str] = ()) -> str:
    """Return the suggestion for the next hypothesis, or why there is none.

    Parameters
    ----------
    harmful
        Terms that make another mean worse: none of them is named as the best of what is within noise.
    """
    best = next((one for one in ranked if one.constant is not None), None)
    if best is None:
        return f"No term can be fitted: {ranked[0].reason if ranked else 'there are no candidates'}."
    label = LABELS[metric]
    if best.held_out is None:
        return (
            f"All {best.points} load points are of one model family, so no term can be judged on another; fitted, "
            f"{best.term.label}, {constant_text(best)}, does most for {label} ({pct(best.mape_before)} to "
            f"{pct(best.mape_after)})."
        )
    if not best.constant or (best.mape_before is not None and best.held_out >= best.mape_before):
        return f"No single term lowers the {label} error of {pct(best.mape_before)} on families it was not fitted to."
    if best.beyond_noise:
        return f"Next hypothesis: {_told(best)}"
    nothing = f"No single term lowers the {label} error on unseen families beyond noise"
    harmless = next((one for one in ranked if _lowers(one) and one.term.name not in harmful), None)
    if harmless is None:
        return f"{nothing}, and each that lowers it at all makes another mean worse."
    which = "best" if harmless is best else "best that makes no other mean worse"
    return f"{nothing}. The {which} is {_told(harmless)}"


def _told(one: Suggestion) -> str:
    return f"{suggestion_text(one)}, gain {_gain(one)}.{_alike(one)}"


def _lowers(one: Suggestion) -> bool:
    """Whether a term does anything for families it was not fitted to."""
    known = one.held_out is not None and one.mape_before is not None
    return bool(one.constant) and known and one.held_out < one.mape_before  # type: ignore[operator]


def suggestion_text(one: Suggestion) -> str:
    """Return a term with its constant and what it does for families it was not fitted to."""
    errors = f"{pct(one.mape_before)} to {pct(one.held_out)}"
    return f"{one.term.label}, {constant_text(one)}: error {errors} on families it was not fitted to"


def _gain(one: Suggestion) -> str:
    assert one.gain_low is not None, "only told where a family was held out"
    assert one.gain_high is not None, "only told where a family was held out"
    return f"{one.gain_low:+.1f} to {one.gain_high:+.1f} pp over families"


def _alike(one: Suggestion) -> str:
    """Name what the data cannot decide against."""
    text = ""
    if one.tied:
        text += f" On these load points it cannot be told from {listed(one.tied)}."
    if one.rivals:
        text += f" Not distinguishably worse on unseen families: {listed(one.rivals)}."
    return text


def listed(names: Sequence[str]) -> str:
    """Name the first few terms, and say how many more there are."""
    labels = [BY_NAME[name].label if name in BY_NAME else name for name in names]
    rest = len(labels) - NAMED
    return "; ".join(labels[:NAMED]) + (f"; and {rest} more" if rest > 0 else "")


def _number(value: float) -> str:
    """Return three digits, never an exponent for something large."""
    return f"{value:,.0f}" if abs(value) >= THOUSAND else f"{signless_zero(value, 9):.3g}"


def _scale(one: Suggestion) -> tuple[float, str]:
    """Return the factor to the printed unit, and that unit: ms instead of thousands of us."""
    unit = one.term.unit
    if unit == "us" or unit.startswith("us "):
        in_ms = one.constant is not None and abs(one.constant) >= US_PER_MS
        return (1 / US_PER_MS, unit.replace("us", "ms", 1)) if in_ms else (1.0, unit)
    return 1.0, unit
