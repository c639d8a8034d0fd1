"""Whether measured numbers can be what their names say: shares, counts, losses, and intervals around their value.

In: plain values from a file, whose checksum says nothing about who wrote it. Out: nothing, or why they cannot be.
"""

from __future__ import annotations

from collections.abc import Mapping

from headstart.untrusted import Untrusted

_MOST_IMAGES = 10**12
_ROUNDING = 1e-9
_LARGEST = 1e12  # of what has no bound of its own: seconds, losses
_SHARES = frozenset(
    ("accuracy", "recall", "precision", "f1", "balanced_accuracy", "macro_f1", "accuracy_over_groups", "without_leaks",
     "probability", "confidence", "p_value", "ece", "plain_ece", "adaptive_ece", "rate", "error_rate", "share", "alone",
     "chance", "coverage", "band", "false_rejects", "held_out_accuracy")
)  # fmt: skip
_DIFFERENCES = ("difference", "overconfidence")  # of shares
_COUNTS = frozenset(("n", "support", "count", "images", "groups", "leaked", "atypical", "width", "epochs"))
_AMOUNTS = frozenset(
    ("nll", "brier", "loss", "log_loss", "mean_size", "lambda", "temperature", "temperature_interval", "seconds",
     "total_seconds", "cached_seconds", "images_per_second", "lr")
)  # fmt: skip
_ENDS = ("low", "high", "mean")  # of shares and of their differences
_OF_ALL = {"counts": "count", "unknown": "count", "confusion": "count", "timings": "seconds"}
"""Key of an object or a list → what each number in it is, by whatever name."""
_SPAN = frozenset(("value", "low", "high", "n"))


def check_numbers(values: object, name: str = "") -> None:
    """Check all numbers in plain values by their keys; those of other keys are left alone.

    Args:
        name: the key of these values.

    Raises:
        Untrusted: one is out of its range; it is named.
    """
    if isinstance(values, Mapping):
        is_interval = values.keys() >= _SPAN
        if is_interval:
            _check_interval(values, name)
        for key, one in values.items():
            if key not in _ENDS or not is_interval:
                check_numbers(one, _OF_ALL.get(name, name if name in _OF_ALL.values() else "") or str(key))
    elif isinstance(values, (list, tuple)):
        for one in values:
            check_numbers(one, _OF_ALL.get(name, name))
    elif isinstance(values, (int, float)) and not isinstance(values, bool):
        _check_number(values, name)


def _check_number(value: float, name: str) -> None:
    if name in _SHARES and not 0 <= value <= 1 + _ROUNDING:
        raise Untrusted(f"{name} is {value!r:.40}, not a share from 0 to 1")
    if name in _ENDS and not -1 - _ROUNDING <= value <= 1 + _ROUNDING:
        raise Untrusted(f"{name} is {value!r:.40}, neither a share nor a difference of shares")
    if name in _COUNTS and not (0 <= value <= _MOST_IMAGES and value == int(value)):
        raise Untrusted(f"{name} is {value!r:.40}, not a number of images or the like")
    if name in _AMOUNTS and not 0 <= value <= _LARGEST:
        raise Untrusted(f"{name} is {value!r:.40}, not a number from 0")


def _check_interval(span: Mapping[str, object], name: str) -> None:
    """Check that an interval holds its value, and shares and their differences are in their range.

    An interval of nothing has no value; those of losses have no range.
    """
    low, value, high = (span[key] for key in ("low", "value", "high"))
    if not isinstance(low, (int, float)) or not isinstance(high, (int, float)):
        return  # of another kind than an interval is; who uses it says so
    middle = value if isinstance(value, (int, float)) else low
    least, most = (0, 1) if name in _SHARES else (-1, 1) if name in _DIFFERENCES else (-_LARGEST, _LARGEST)
    ends = (least, low + _ROUNDING, middle + 2 * _ROUNDING, high + 3 * _ROUNDING, most + 4 * _ROUNDING)
    if list(ends) != sorted(ends):
        raise Untrusted(f"{name or 'an interval'} is {value!r:.40} from {low!r:.40} to {high!r:.40}")
