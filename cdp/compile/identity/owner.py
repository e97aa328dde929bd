"""Whose a row is."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from cdp.compile.identity.normalise import shaped, trimmed
from cdp.compile.identity.spec import Identifier, IdentitySpec
from cdp.compile.render import Renderer, column, text


def owner(
    spec: IdentitySpec,
    renderer: Renderer,
    rows: exp.Expr,
    slots: Sequence[str],
    keep: Sequence[exp.Expr] = (),
) -> exp.Expr:
    """The SELECT that adds `entity_id` to `rows`, a SELECT with raw identifiers `i0` … `in` of the types `slots`.

    The owner is the entity of the strongest identifier that bridges; with none, of the strongest attached one; NULL
    where none is known. Junk and shared identifiers stand in no `_ids`, so they own nothing. `keep` are expressions
    over the alias `r` (default: all columns of `rows`). Reads the view `<schema>.<entity>_ids`, one hash join a slot:
    over 10 M rows half the time of distinct tuples; a costly normal form is made once per distinct raw value.
    """
    identifiers = [spec.identifiers[spec.type_of(name)] for name in slots]
    return renderer.tree(
        "identity/owner",
        rows=exp.Subquery(this=rows.copy()) if not isinstance(rows, exp.Table) else rows,
        keep=list(keep),
        ids=f"{spec.schema}.{spec.entity}_ids",
        key=f"{spec.entity}_id",
        slots=[_slot(number, identifier) for number, identifier in enumerate(identifiers)],
    )


def _slot(number: int, identifier: Identifier) -> dict[str, object]:
    gmail = identifier.gmail_dots or identifier.gmail_plus
    dear = gmail or identifier.normalize not in ("none", "lower", "email")
    return {
        "column": number,
        "name": text(identifier.name),
        "dear": dear,
        "value": shaped(identifier, trimmed(column(f"i{number}", "r"))),
        "value_of_raw": shaped(identifier, trimmed(column("raw", "x"))),
    }
