"""The tables of one sync in the state schema."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Names:
    """`ledger` holds what a record was sent, `members` who is on the list, `stage` what may have been sent but is not
    folded, `refused` what the destination did not want. The rest is scratch: made and dropped by one run."""

    ledger: str
    members: str
    stage: str
    refused: str
    winners: str
    aside: str
    moves: str
    doubt: str
    record_diff: str
    list_diff: str
    ops: str
    new: str
    fold: str
    invalid: str

    @classmethod
    def of(cls, schema: str, sync: str) -> Names:
        """All names of one sync."""
        stage = f"{schema}.stage_{sync}"
        return cls(
            ledger=f"{schema}.sent_{sync}",
            members=f"{schema}.sent_{sync}__list",
            stage=stage,
            refused=f"{schema}.refused_{sync}",
            winners=f"{stage}__winners",
            aside=f"{stage}__aside",
            moves=f"{stage}__moves",
            doubt=f"{stage}__doubt",
            record_diff=f"{stage}__diff",
            list_diff=f"{stage}__list_diff",
            ops=f"{stage}__ops",
            new=f"{stage}__new",
            fold=f"{stage}__fold",
            invalid=f"{stage}__invalid",
        )

    @property
    def scratch(self) -> tuple[str, ...]:
        """What a run drops at its end, however it ends."""
        return (
            self.winners, self.aside, self.moves, self.doubt, self.record_diff, self.list_diff, self.ops, self.new,
            self.fold, self.invalid,
        )  # fmt: skip
