"""Check: images that belong together (one person, one burst) in more than one split of the user's own."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from headstart.data.audit.check import AuditInput, Group
from headstart.data.finding import Finding
from headstart.data.split import merge_groups
from headstart.wording import counted

_KEEP = "Put each group into one split, or use no splits: headstart then makes a split and keeps groups whole."
_GUESSED = "The groups are guessed from the file names: if they are not groups, use --group-by none."


def check_groups_across_splits(images: AuditInput) -> list[Finding]:
    """A problem, or a warning where the groups are only guessed from file names."""
    groups = _across(images, images.groupings)
    if not groups:
        return []
    is_certain = not images.groups_are_guessed or bool(_across(images, [images.groups]))
    splits = Counter(str(images.splits[i]) for group in groups for i in group)
    outside = {split: splits[split] for split in ("validation", "test") if splits[split]}
    message = (
        f"{counted(len(groups), 'group')} {'is' if len(groups) == 1 else 'are'} in more than one split, with "
        f"{' and '.join(counted(count, f'{split} image') for split, count in outside.items())}, for example "
        f"{_example(images, groups[0])}: results on groups that the training split contains are too optimistic. "
        f"{_KEEP if is_certain else _GUESSED}"
    )
    severity = "problem" if is_certain else "warning"
    detail = {"images": outside}
    return [images.finding("group-across-splits", message, severity=severity, groups=groups, detail=detail)]


def _across(images: AuditInput, groupings: Sequence[Sequence[str | None]]) -> list[Group]:
    """Groups with readable images in two or more splits."""
    members: dict[int, list[int]] = defaultdict(list)
    for i, number in enumerate(merge_groups(len(images), groupings)):
        if images.readable[i] and images.splits[i] is not None:
            members[number].append(i)
    return [tuple(group) for group in members.values() if len({images.splits[i] for i in group}) > 1]


def _example(images: AuditInput, group: Group) -> str:
    names, splits, one = images.names, images.splits, group[0]
    other = next(i for i in group if splits[i] != splits[one])
    name = next(grouping[one] for grouping in images.groupings if grouping[one] is not None)
    return f"{name!r} ({names[one]} in {splits[one]}, {names[other]} in {splits[other]})"
