"""What the verbs share that run on workers: sources by name, and the network as a file."""

from __future__ import annotations

import os
import shutil
from dataclasses import fields
from pathlib import Path

import pytest
import torch

import headstart as hs
from headstart.backbones.flip_tta import FlipTTA
from headstart.classifier.classifier import Classifier
from headstart.data.images import ImageRules
from headstart.distributed.engine import Cluster
from headstart.errors import DataError
from headstart.workbench.cluster_job import ClusterJob, source_of, source_path
from headstart.workbench.session import Session
from laid_shards import InlineEngine


@pytest.mark.slow
def test_a_network_travels_as_a_file_and_features_are_found_again(photos: Path, tmp_path: Path) -> None:
    session, cluster = Session(), Cluster(shards=tmp_path)
    source = source_of(session, str(photos))
    job = ClusterJob(session, cluster, InlineEngine(), source, ImageRules())
    backbone = hs.load_backbone("embedded")

    first, _ = job.features(backbone, "eager")
    second, _ = job.features(backbone, "eager")

    assert (first.resumed, second.resumed) == (0, 48)
    (file,) = tmp_path.glob("network-*.safetensors")
    pixels = torch.rand(2, 3, backbone.preprocess.crop, backbone.preprocess.crop)
    assert torch.equal(Classifier.load(file).backbone.features(pixels), backbone.features(pixels))
    changed = hs.load_backbone("embedded")
    changed.set_image_size(64)
    third, _ = job.features(changed, "eager")
    assert third.resumed == 0


@pytest.mark.slow
@pytest.mark.parametrize("unit", [True, False])
def test_a_network_that_averages_over_flips_travels_as_one(unit: bool, photos: Path, tmp_path: Path) -> None:
    session = Session()
    job = ClusterJob(session, Cluster(shards=tmp_path), InlineEngine(), source_of(session, str(photos)), ImageRules())
    plain, flipped = hs.load_backbone("embedded"), hs.load_backbone("embedded")
    flipped.flip_tta = FlipTTA(flipped.widths, unit)
    pixels = torch.rand(2, 3, plain.preprocess.crop, plain.preprocess.crop)

    carried = Classifier.load(job._carry(flipped)).backbone

    assert carried.flip_tta == flipped.flip_tta
    assert torch.equal(carried.features(pixels), flipped.features(pixels))
    job.features(plain, "eager")
    assert job.features(flipped, "eager")[0].resumed == 0  # the features of the plain one are others


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"text", None])
def test_a_damaged_network_is_written_again(content: bytes | None, photos: Path, tmp_path: Path) -> None:
    session, cluster = Session(), Cluster(shards=tmp_path)
    job = ClusterJob(session, cluster, InlineEngine(), source_of(session, str(photos)), ImageRules())
    backbone = hs.load_backbone("embedded")
    file = job._carry(backbone)
    whole = file.read_bytes()
    if content is None:
        file.unlink()
        file.mkdir()
    else:
        file.write_bytes(content)

    assert job._carry(backbone).read_bytes() == whole


def test_verify_looks_at_the_bytes_of_files(photos: Path, tmp_path: Path) -> None:
    tree = shutil.copytree(photos, tmp_path / "tree")
    trusted, verified = (
        {shard.key for shard in source_of(Session(options={"verify": verify}), str(tree)).shards}
        for verify in (False, True)
    )
    one, other = sorted(tree.rglob("*.png"))[:2]
    content, status = other.read_bytes(), one.stat()
    os.utime(one, ns=(0, 0))

    assert {shard.key for shard in source_of(Session(), str(tree)).shards} != trusted
    assert {shard.key for shard in source_of(Session(options={"verify": True}), str(tree)).shards} == verified

    one.write_bytes((content + bytes(status.st_size))[: status.st_size])
    os.utime(one, ns=(status.st_mtime_ns, status.st_mtime_ns))

    assert {shard.key for shard in source_of(Session(options={"verify": True}), str(tree)).shards} != verified


def test_a_source_is_a_path_an_address_or_values(photos: Path, run: hs.Run) -> None:
    session = Session()
    assert source_path(session, photos) == str(photos)
    assert source_path(session, "s3://bucket/*.parquet") == "s3://bucket/*.parquet"
    kept = source_path(session, [(str(path), path.parent.name) for path in sorted(photos.rglob("*.png"))])
    assert source_of(session, kept).images == 48
    with pytest.raises(DataError, match="the folder of a run"):
        source_of(session, str(run.folder))


def test_results_are_told_apart_by_all_that_decides_how_images_are_opened(photos: Path, tmp_path: Path) -> None:
    job = ClusterJob(
        Session(), Cluster(shards=tmp_path), InlineEngine(), source_of(Session(), str(photos)), ImageRules()
    )
    assert set(job._opening()) == {field.name for field in fields(ImageRules)} - {"checked"} | {"reader"}
