"""Signals: commands ended by SIGINT, SIGTERM or SIGKILL at seeded moments, and what the next call finds."""

from __future__ import annotations

import signal
import tempfile
from collections import Counter
from pathlib import Path

from forked_commands import clear, everything, run_command, unfinished
from robustness_system import COMMANDS, RECORD, Campaign, Trouble, partial

INTERRUPTED = (
    *("train", "train last stage", "predict csv", "predict sorted", "predict parquet", "audit", "show", "embed"),
    *("review page", "review decision", "forget", "add-class", "advise", "advise augment", "explain", "export"),
    *("inspect", "card", "recalibrate", "continue"),
)
_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}
_ENDED = (0, 1)  # it was done before the signal came


def run(count: int, seed: int) -> dict[str, int]:
    """Trials by outcome; `count` is the number of signals for each command."""
    with tempfile.TemporaryDirectory(prefix="headstart-signals-") as name:
        campaign = Campaign(Path(name), seed)
        interrupt(campaign, count)
        outcomes = Counter[str]()
        for one in campaign.trials:
            outcomes["wrong" if one.wrong else "done" if one.code in _ENDED else "ended by the signal"] += 1
        return {"trials": len(campaign.trials), **outcomes}


def interrupt(campaign: Campaign, count: int) -> None:
    """End each command `count` times: nothing new is left, and the same call afterwards is fine."""
    for name in INTERRUPTED:
        if name not in COMMANDS:
            continue
        clear(campaign.out)
        campaign.fill_in(name)
        usual = campaign.trial(name, "alone", _ENDED).seconds
        whole = everything(campaign.out)
        for turn in range(count):
            number = tuple(_CODES)[turn % len(_CODES)]
            clear(campaign.out)
            campaign.fill_in(name)
            if turn % 2:  # a second call finds what the first has cached
                clear(campaign.cache)
            _end(campaign, name, number, moment=campaign.random.uniform(0, usual), whole=whole)


def _resumable(out: Path, names: set[str]) -> set[str]:
    """Those of an interrupted training that has a checkpoint: `headstart resume` goes on with it."""
    jobs = {path.parent.relative_to(out).parts[0] for path in out.rglob("checkpoint*.pth")}
    return {name for name in names if Path(name).parts[0] in jobs}


def _end(campaign: Campaign, name: str, number: signal.Signals, *, moment: float, whole: set[str]) -> None:
    arguments = campaign.arguments(COMMANDS[name])
    before = everything(campaign.out)
    outcome = run_command(arguments, campaign.place, cache=campaign.cache, signal_after=(number, moment))
    wrong = outcome.complaints((*_ENDED, _CODES[number], -number))  # negative: before it had begun
    left = everything(campaign.out) - before
    is_done = everything(campaign.out) == whole  # it was only shown
    if number != signal.SIGKILL and outcome.code not in _ENDED and not is_done:  # there was time to clean up
        wrong += [f"left {one}" for one in sorted(left - _resumable(campaign.out, left))]
        wrong += [f"left in the cache {one}" for one in sorted(partial(campaign.cache))]
    if outcome.code in _ENDED or is_done:  # nothing was ended: begin afresh
        clear(campaign.out)
        campaign.fill_in(name)
    again = run_command(arguments, campaign.place, cache=campaign.cache)
    wrong += [f"again: {one}" for one in again.complaints(_ENDED)]
    left = {one for one in unfinished(campaign.out) if not one.endswith(RECORD)}
    wrong += [f"again: left {one}" for one in sorted(left - _resumable(campaign.out, left))]
    wrong += [f"again: left in the working folder {one}" for one in sorted(unfinished(campaign.place))]
    campaign.trials.append(Trouble(name, f"{number.name} after {moment:.2f} s", outcome.code, tuple(wrong)))
    if campaign.verbose and wrong:
        print(f"--- {campaign.trials[-1]}\n{outcome.stderr[-700:]}\n{again.stderr[-700:]}", flush=True)
