"""Identity resolution: evidence, components, limits, stable ids, whose a row is, the golden record."""

from cdp.compile.identity.golden import golden, golden_scratch
from cdp.compile.identity.junk import JUNK_VERSION
from cdp.compile.identity.normalise import normalised
from cdp.compile.identity.owner import owner
from cdp.compile.identity.resolve import resolve, step
from cdp.compile.identity.spec import Attribute, Identifier, IdentitySpec, Link, Pick, Records

__all__ = [
    "JUNK_VERSION", "Attribute", "Identifier", "IdentitySpec", "Link", "Pick", "Records", "golden", "golden_scratch",
    "normalised", "owner", "resolve", "step",
]  # fmt: skip
