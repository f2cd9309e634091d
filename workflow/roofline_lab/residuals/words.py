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


def constant_text(suggestion: Suggestion) -> str:
    """Return the constant with its unit, and what a rate implies."""
    if suggestion.constant is None:
        return MISSING
    scale, unit = _scale(suggestion)
    implied = implied_text(suggestion)
    bound = ""
    if suggestion.at_bound:
        bound = (
            ", the most that is plausible"
            if suggestion.constant == suggestion.most
            else ", the least that physics allows"
        )
    return f"{_number(suggestion.constant * scale)} {unit}{f' ({implied})' if implied else ''}{bound}"


def interval_text(suggestion: Suggestion) -> str:
    """Return the interval of the constant, in the unit of `constant_text`."""
    if suggestion.low is None or suggestion.high is None:
        return MISSING
    scale, _ = _scale(suggestion)
    low, high = (_number(end * scale) for end in (suggestion.low, suggestion.high))
    return f"{low} to {high}" if low != high else f"all {low}"


def implied_text(suggestion: Suggestion) -> str:
    """Return what share of the peak a rate comes out at, and from which; empty for a cost."""
    if suggestion.term.kind != "rate" or not suggestion.constant or suggestion.spent is None:
        return ""
    now = f"{1 / (suggestion.spent + suggestion.constant):.2f} of peak"
    return f"{now} instead of {1 / suggestion.spent:.2f}" if suggestion.spent else now


def sentence(ranked: Sequence[Suggestion], metric: str, harmful: Collection[str] = ()) -> str:
    """Return the suggestion for the next hypothesis, or why there is none.

    Parameters
    ----------
    harmful
        Terms that make another mean worse: none of them is named as the best of what is within noise.
    """
    best = next((suggestion for suggestion in ranked if suggestion.constant is not None), None)
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
    if best.gain_low is None:
        nothing = f"Whether a term lowers the {label} error beyond noise cannot be told: {best.reason}"
    harmless = next(
        (suggestion for suggestion in ranked if _lowers(suggestion) and suggestion.term.name not in harmful), None
    )
    if harmless is None:
        return f"{nothing}, and each that lowers it at all makes another mean worse."
    which = "best" if harmless is best else "best that makes no other mean worse"
    return f"{nothing}. The {which} is {_told(harmless)}"


def _told(suggestion: Suggestion) -> str:
    return f"{suggestion_text(suggestion)}{_gain(suggestion)}.{_alike(suggestion)}"


def _lowers(suggestion: Suggestion) -> bool:
    """Whether a term does anything for families it was not fitted to."""
    known = suggestion.held_out is not None and suggestion.mape_before is not None
    return bool(suggestion.constant) and known and suggestion.held_out < suggestion.mape_before  # type: ignore[operator]


def suggestion_text(suggestion: Suggestion) -> str:
    """Return a term with its constant and what it does for families it was not fitted to."""
    errors = f"{pct(suggestion.mape_before)} to {pct(suggestion.held_out)}"
    return f"{suggestion.term.label}, {constant_text(suggestion)}: error {errors} on families it was not fitted to"


def _gain(suggestion: Suggestion) -> str:
    if suggestion.gain_low is None or suggestion.gain_high is None:
        return ""
    return f", gain {suggestion.gain_low:+.1f} to {suggestion.gain_high:+.1f} pp over families"


def _alike(suggestion: Suggestion) -> str:
    """Name what the data cannot decide against."""
    text = ""
    if suggestion.tied:
        text += f" On these load points it cannot be told from {listed(suggestion.tied)}."
    if suggestion.rivals:
        text += f" Not distinguishably worse on unseen families: {listed(suggestion.rivals)}."
    return text


def listed(names: Sequence[str]) -> str:
    """Name the first few terms, and say how many more there are."""
    labels = [BY_NAME[name].label if name in BY_NAME else name for name in names]
    rest = len(labels) - NAMED
    return "; ".join(labels[:NAMED]) + (f"; and {rest} more" if rest > 0 else "")


def _number(value: float) -> str:
    """Return three digits, never an exponent for something large."""
    return f"{value:,.0f}" if abs(value) >= THOUSAND else f"{signless_zero(value, 9):.3g}"


def _scale(suggestion: Suggestion) -> tuple[float, str]:
    """Return the factor to the printed unit, and that unit: ms instead of thousands of us."""
    unit = suggestion.term.unit
    if unit == "us" or unit.startswith("us "):
        in_ms = suggestion.constant is not None and abs(suggestion.constant) >= US_PER_MS
        return (1 / US_PER_MS, unit.replace("us", "ms", 1)) if in_ms else (1.0, unit)
    return 1.0, unit
