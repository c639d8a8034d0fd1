"""Images that belong together but lie in different parts: copies in training and test, groups across given parts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import replace

from headstart.data.finding import NAMED, Finding, counted
from headstart.data.image_set import Sample
from headstart.data.split import merge_groups


def leaked(groups: Sequence[Sequence[int]], parts: Sequence[str | None]) -> tuple[int, ...]:
    """Indices of the validation and test images that have another image of their group in training, ascending.

    Args:
        groups: indices of images that belong together. parts: of each image.
    """
    crossing = [group for group in groups if any(parts[i] == "train" for i in group)]
    return tuple(sorted(i for group in crossing for i in group if parts[i] in ("validation", "test")))


def crossing_groups(
    samples: Sequence[Sample], groupings: Sequence[Sequence[Hashable | None]], *, guessed: bool = False
) -> tuple[Finding, ...]:
    """A problem where groups lie in more than one given part, else nothing.

    Args:
        groupings: as `find_groups` gives them, each with a group or None for every sample.
        guessed: groups that no table names are guessed from the files' names; of these alone it is a warning.
    """
    groups = _crossing(samples, groupings)
    if not groups:
        return ()
    sure = not guessed or _crossing(samples, [[sample.group for sample in samples]])
    way_out = "Put each group into one part, or give no parts: headstart then splits and keeps groups whole."
    if not sure:
        way_out = "The groups are guessed from the files' names: if they are none, say --group-by none."
    parts = Counter(str(samples[i].part) for group in groups for i in group)
    outside = {part: parts[part] for part in ("validation", "test") if parts[part]}
    message = (
        f"{counted(len(groups), 'group')} {'lies' if len(groups) == 1 else 'lie'} in more than one part, with "
        f"{' and '.join(counted(count, f'{part} image') for part, count in outside.items())}, for example "
        f"{_example(samples, groupings, groups[0])}: the score of a group that training or choosing has seen is too "
        f"good. {way_out}"
    )
    finding = about_groups("crossing-group", "problem" if sure else "warning", message, samples, groups)
    return (replace(finding, detail={"count": len(groups), "images": outside}),)


def _crossing(samples: Sequence[Sample], groupings: Sequence[Sequence[Hashable | None]]) -> list[list[int]]:
    members: dict[int, list[int]] = defaultdict(list)
    for i, number in enumerate(merge_groups(len(samples), groupings)):
        if samples[i].part is not None:
            members[number].append(i)
    return [group for group in members.values() if len({samples[i].part for i in group}) > 1]


def _example(samples: Sequence[Sample], groupings: Sequence[Sequence[Hashable | None]], group: Sequence[int]) -> str:
    one = group[0]
    other = next(i for i in group if samples[i].part != samples[one].part)
    name = next(grouping[one] for grouping in groupings if grouping[one] is not None)
    return f"{name!r} ({samples[one].name} in {samples[one].part}, {samples[other].name} in {samples[other].part})"


def about_groups(
    kind: str, severity: str, message: str, samples: Sequence[Sample], groups: Sequence[Sequence[int]]
) -> Finding:
    """A finding about groups of images, given as indices of samples."""
    named = tuple(tuple(samples[i].name for i in group) for group in groups[:NAMED])
    names = tuple(name for group in named for name in group)[:NAMED]
    return Finding(kind, severity, message, names, named, {"count": len(groups)})
