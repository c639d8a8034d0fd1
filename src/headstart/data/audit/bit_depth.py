"""Check: a set of 16-bit files whose values fill only the dark end of 16 bits, or more than the stated bit depth."""

from __future__ import annotations

from headstart.data.audit.check import AuditInput
from headstart.data.finding import Finding
from headstart.wording import counted

_MOST_BITS = 14  # of the brightest value in the set: with 14 bits white is a quarter of white
_LEAST_SHARE = 0.5  # of the images: a few dark ones among others are no reason to stretch the others
_LEAST_BITS = 8  # the lowest --bit-depth


def check_bit_depth(images: AuditInput) -> list[Finding]:
    """A warning with the bit depth to state, or one about values above the stated depth."""
    deep = [i for i, fact in enumerate(images.facts) if fact.brightest]
    if not deep:
        return []
    white, brightest = 2**images.bit_depth - 1, max(images.facts[i].brightest for i in deep)
    clipped = [i for i in deep if images.facts[i].brightest > white]
    if clipped:
        message = (
            f"{counted(len(clipped), 'image')} of 16 bit: values above {white:,} are clipped to white. The brightest "
            f"value is {brightest:,}: --bit-depth {brightest.bit_length()} keeps all of them."
        )
        return [images.finding("bit-depth", message, images=clipped)]
    bits = max(brightest.bit_length(), _LEAST_BITS)
    if images.bit_depth < 16 or bits > _MOST_BITS or len(deep) < _LEAST_SHARE * int(images.readable.sum()):
        return []
    message = (
        f"{counted(len(deep), 'image')} of 16 bit: the brightest value of the whole set is {brightest:,} of 65,535, so "
        f"none is brighter than {100 * brightest / 65535:.1f} % of white. "
        f"--bit-depth {bits} makes {2**bits - 1:,} white, on one scale for all images."
    )
    return [images.finding("bit-depth", message, images=deep, detail={"brightest": brightest, "bit_depth": bits})]
