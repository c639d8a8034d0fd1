"""The split: honest shares, whole groups, the same sides when images are added, moved or renamed."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections import Counter
from collections.abc import Hashable, Sequence

import pytest

from headstart.data.split import DataSplit, SplitInput, find_leaks, make_split, merge_groups
from headstart.errors import DataError, RecipeError


def content(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def divide(
    labels: Sequence[str],
    contents: Sequence[str],
    *groupings: Sequence[Hashable | None],
    share: float = 0.2,
    seed: int = 0,
    splits: Sequence[str | None] | None = None,
    classes: Sequence[str] = ("a", "b"),
    stable: bool = False,
) -> DataSplit:  # every value of a split, with a default
    samples = SplitInput(
        labels=labels,
        splits=splits or [None] * len(labels),
        contents=contents,
        classes=classes,
        groupings=groupings,
    )
    return make_split(samples, test_share=share, seed=seed, stable=stable)


def make(
    sizes: dict[str, int], *groups: Sequence[Hashable | None], share: float = 0.2, seed: int = 0, start: int = 0
) -> tuple[DataSplit, list[str], list[str]]:
    labels = [label for label, size in sizes.items() for _ in range(size)]
    contents = [content(start + number) for number in range(len(labels))]
    made = divide(labels, contents, *groups, share=share, seed=seed, classes=sorted(sizes))
    return made, labels, contents


def given(splits: Sequence[str | None], labels: Sequence[str], classes: Sequence[str] = ("a", "b")) -> DataSplit:
    contents = [content(number) for number in range(len(splits))]
    return divide(labels, contents, splits=splits, classes=classes)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_single_images_are_divided_by_class_to_the_image(share: float) -> None:
    made, labels, _ = make({"a": 100, "b": 30, "c": 7}, share=share)

    tested = Counter(labels[index] for index in made.test)
    assert tested == {"a": 100 * share, "b": 30 * share, "c": max(1, int(7 * share + 0.5))}
    assert sorted(made.train + made.test) == list(range(137))
    assert made.validation == made.unknown == ()
    assert made.groups == tuple(range(137))


def test_another_seed_gives_another_test_and_the_same_seed_the_same() -> None:
    tests = [make({"a": 100, "b": 100}, seed=seed)[0].test for seed in (0, 1, 0)]

    assert tests[0] == tests[2]
    # two random fifths share a fifth: 8 of 40 expected
    assert len(set(tests[0]) & set(tests[1])) < 20


@pytest.mark.parametrize("seed", range(5))
def test_after_ten_percent_more_images_at_least_95_percent_keep_their_side(seed: int) -> None:
    def side(each: int) -> dict[str, bool]:
        labels = [label for label in ("a", "b") for _ in range(each)]
        contents = [f"{label}{number}" for label in ("a", "b") for number in range(each)]
        made = divide(labels, contents, seed=seed)
        return {contents[index]: index in set(made.test) for index in range(2 * each)}

    before, after = side(200), side(220)

    kept = sum(before[name] == after[name] for name in before)
    assert kept / len(before) >= 0.95


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_stable_split_takes_each_image_by_its_own_hash(share: float) -> None:
    contents = [content(number) for number in range(2_000)]

    made = divide(["a", "b"] * 1_000, contents, share=share, seed=3, stable=True)

    below = share * 2**64
    hashes = [int(hashlib.sha256(f"3:{one}".encode()).hexdigest()[:16], 16) for one in contents]
    assert made.test == tuple(i for i, value in enumerate(hashes) if value < below)
    assert abs(len(made.test) / 2_000 - share) < 4 * (share * (1 - share) / 2_000) ** 0.5  # four standard errors
    assert f"About {share * 100:g} % are test images" in made.protocol


@pytest.mark.parametrize("seed", range(5))
def test_more_images_and_larger_groups_move_nothing_in_a_stable_split(seed: int) -> None:
    labels, contents = ["a", "b", "c"] * 200, [content(number) for number in range(600)]
    patients = [f"patient {i // 4}" if i < 400 else None for i in range(600)]
    joined = [i // 2 if i >= 500 else None for i in range(600)]  # pairs without a name
    first = divide(labels[:500], contents[:500], patients[:500], classes="abc", seed=seed, stable=True)

    patients[560:] = [f"patient {i}" for i in range(40)]  # more images of patients that were there
    joined[560:] = [None] * 40
    both = divide(labels, contents, patients, joined, classes="abc", seed=seed, stable=True)

    assert {i for i in both.test if i < 500} == set(first.test)
    assert len(both.test) > len(first.test)
    sides: dict[int, set[bool]] = {}
    for i, group in enumerate(both.groups):
        sides.setdefault(group, set()).add(i in both.test)
    assert all(len(found) == 1 for found in sides.values())


def test_a_stable_split_leaves_each_class_something_to_train_on_and_reports_one_without_a_test() -> None:
    sides = {"none tested": 0, "one kept back": 0}
    for start in range(0, 400, 4):
        contents = [content(start + i) for i in range(4)] + [content(10_000 + i) for i in range(40)]
        made = divide(["a"] * 4 + ["b"] * 40, contents, share=0.5, stable=True)
        assert any(i < 4 for i in made.train)
        if all(i >= 4 for i in made.test):
            assert "No test image for 'a' (4 images): no hash chose one" in made.findings[0].message
            sides["none tested"] += 1
        hashes = [int(hashlib.sha256(f"0:{one}".encode()).hexdigest()[:16], 16) for one in contents[:4]]
        sides["one kept back"] += max(hashes) < 2**63
    assert all(sides.values())  # both happened, one in sixteen times each


def test_order_and_names_of_the_files_play_no_role() -> None:
    made, labels, contents = make({"a": 50, "b": 40})
    order = list(range(90))
    random.Random(3).shuffle(order)

    moved = divide([labels[i] for i in order], [contents[i] for i in order])

    assert {contents[order[index]] for index in moved.test} == {contents[index] for index in made.test}


def test_groups_stay_whole_and_the_share_is_met_as_near_as_they_allow() -> None:
    # 7 groups of 120 in each class: one group is 14 %, two are 29 %, so one is nearer to 20 %
    names = [f"{label}{number // 120}" for label in "ab" for number in range(840)]
    made, labels, _ = make({"a": 840, "b": 840}, names)

    tested = {names[index] for index in made.test}
    assert not tested & {names[index] for index in made.train}
    assert Counter(labels[index] for index in made.test) == {"a": 120, "b": 120}
    assert len(set(made.groups)) == 14


@pytest.mark.slow
def test_large_groups_are_not_preferred_for_the_test() -> None:
    # 20 pairs and 60 singles, over many seeds: a group's order must not depend on its size
    names = [f"pair{number // 2}" if number < 40 else None for number in range(100)]
    tested_pairs = 0
    for seed in range(200):
        labels = ["a"] * 100 + ["b"] * 2
        contents, groups = [content(number) for number in range(102)], [[*names, None, None]]
        made = divide(labels, contents, *groups, seed=seed)
        tested_pairs += sum(index < 40 for index in made.test)

    # 40 of 100 images are in pairs; 200 tests of 20 images: 1600 expected, standard deviation below 45
    assert tested_pairs / 200 == pytest.approx(8.0, abs=0.9)


def test_equal_contents_stay_together_though_no_group_says_so() -> None:
    for seed in range(30):
        contents = [content(number // 2) for number in range(20)]
        labels = [label for label in "ab" for _ in range(10)]
        made = divide(labels, contents, share=0.3, seed=seed)

        assert not {contents[i] for i in made.test} & {contents[i] for i in made.train}
        assert made.groups == tuple(number // 2 for number in range(20))


def test_each_class_is_trained_and_tested_when_two_groups_allow_it() -> None:
    for seed in range(20):
        names = ["a1"] * 5 + ["a2"] * 6 + [None, None]
        made, labels, _ = make({"a": 11, "b": 2}, names, share=0.1, seed=seed)

        assert {labels[index] for index in made.test} == {"a", "b"}
        assert {labels[index] for index in made.train} == {"a", "b"}


def test_the_smaller_of_two_large_groups_is_tested() -> None:
    made, _, _ = make({"a": 100, "b": 10}, ["x"] * 60 + ["y"] * 40 + [None] * 10)

    assert sum(index < 100 for index in made.test) == 40


def test_a_group_that_brings_the_share_no_nearer_stays_in_training() -> None:
    # three of ten wanted, from pairs: two and four are equally far
    made, _, _ = make({"a": 10, "b": 10}, [number // 2 for number in range(20)], share=0.3)

    assert len(made.test) == 4


def test_a_class_of_one_group_stays_in_training_and_is_reported() -> None:
    made, labels, _ = make({"a": 10, "b": 10, "c": 1}, ["one"] * 10 + [None] * 11)

    assert {labels[index] for index in made.test} == {"b"}
    (finding,) = made.findings
    assert (finding.kind, finding.severity) == ("untested-class", "problem")
    assert finding.detail == {"classes": ["a", "c"], "counts": {"a": 10, "c": 1}}


def test_a_group_over_two_classes_never_takes_the_last_of_one() -> None:
    for seed in range(20):
        # the pair is all there is of b
        made, labels, _ = make({"a": 9, "b": 1}, [*[None] * 8, "pair", "pair"], seed=seed)

        assert "b" in {labels[index] for index in made.train}


def test_groups_that_leave_nothing_to_test_are_an_error() -> None:
    with pytest.raises(DataError, match=r"at least one test image.*'a' \(5 images\).*finer than the class"):
        make({"a": 5, "b": 5}, ["a"] * 5 + ["b"] * 5)


def test_several_groupings_are_merged_as_a_graph_search_would() -> None:
    random_numbers = random.Random(1)
    for _ in range(50):
        count = random_numbers.randint(1, 25)
        groupings = [[random_numbers.choice([None, None, *range(12)]) for _ in range(count)] for _ in range(3)]

        numbers = merge_groups(count, groupings)

        reached = [{index} for index in range(count)]  # literal: spread along every joining pair until nothing changes
        for _ in range(count):
            for one, other in itertools.combinations(range(count), 2):
                if any(grouping[one] is not None and grouping[one] == grouping[other] for grouping in groupings):
                    reached[one] |= reached[other]
                    reached[other] |= reached[one]
        for one, other in itertools.combinations(range(count), 2):
            assert (numbers[one] == numbers[other]) == (other in reached[one])
        assert list(dict.fromkeys(numbers)) == list(range(len(set(numbers))))


def test_the_second_of_two_splits_is_the_test() -> None:
    for second in ("validation", "test"):
        made = given(["train", "train", second, second], ["a", "b", "a", "b"])

        assert (made.train, made.validation, made.test) == ((0, 1), (), (2, 3))
        assert f"`{second}` serves as the test set" in made.protocol


def test_with_three_splits_choices_may_use_validation_and_the_test_is_used_once() -> None:
    made = given(["test", "train", "validation", "train"], ["a", "a", "b", "b"])

    assert (made.train, made.validation, made.test) == ((1, 3), (2,), (0,))
    assert "Choices may use `validation`; `test` is used once." in made.protocol


def test_a_share_that_groups_do_not_allow_is_said_as_it_is() -> None:
    labels, people = ["a", "b"] * 10, [str(index // 2 % 2) for index in range(20)]  # two people, each half of a class
    made = divide(labels, [content(number) for number in range(20)], people)

    assert len(made.test) == 10
    assert made.protocol.startswith("50.0\u00a0% of the images are test images instead of 20 %, to keep groups whole")


def test_training_alone_is_divided_like_no_splits() -> None:
    alone, none = given(["train"] * 20, ["a", "b"] * 10), given([None] * 20, ["a", "b"] * 10)

    assert alone == none
    assert len(alone.test) == 4
    assert "20 % of each class are test images" in alone.protocol


def test_the_users_own_splits_are_not_altered_by_groups() -> None:
    labels, splits = ["a", "b", "a", "b"], ["train", "train", "test", "test"]

    made = divide(labels, [content(1)] * 4, ["g"] * 4, splits=splits)

    assert (made.train, made.test) == ((0, 1), (2, 3))
    assert made.groups == (0, 0, 0, 0)


def test_a_class_that_training_does_not_have_is_unknown_and_never_tested() -> None:
    made = given(["train", "train", "test", "test", "validation"], ["a", "b", "wasp", "b", "wasp"])

    assert (made.test, made.unknown, made.validation) == ((3,), (2, 4), ())
    assert made.to_dict()["unknown"] == 2


@pytest.mark.parametrize(
    ("splits", "labels", "message"),
    [
        ([None, "train", "test"], ["a", "b", "a"], "every image in a split, or none, found 1 of 3"),
        (["test", "test"], ["a", "b"], r"training images, found test \(2\)"),
        (["validation", "test"], ["a", "b"], "training images"),
        ([], [], "no images"),
        (["train", "train", "test"], ["a", "b", "wasp"], "at least one test image of a known class"),
        (["train", "train", "validation", "test"], ["a", "b", "a", "wasp"], "at least one test image of a known class"),
    ],
)
def test_splits_that_cannot_be_used_are_an_error(splits: list[str | None], labels: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        given(splits, labels)


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0, float("nan")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(RecipeError, match="between 0 and 1"):
        make({"a": 2, "b": 2}, share=share)


def test_a_duplicate_leaks_from_training_into_validation_and_test() -> None:
    splits = ["train", "validation", "test", "test", None, "train"]

    assert find_leaks([(0, 1, 2), (3, 4), (5, 0)], splits) == (1, 2)
    assert find_leaks([], splits) == ()
