"""Places with names: where they lie is kept relative to the embeddings, so that they move as these do."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kinaema_ros.errors import InputError, NoSuchPlaceError
from kinaema_ros.model.pose_graph import NONE
from kinaema_ros.model.se2 import compose

MAX_PLACES = 256  # of one memory, so that its size is fixed
MAX_NAME = 64  # characters
_NAME_BYTES = 4 * MAX_NAME  # in UTF-8
_REFUSED = {"Cc", "Cs", "Zl", "Zp"}  # Unicode's categories: control characters, half of a pair, line ends


def checked_name(name: str) -> str:
    """The name of a place as it is kept: in composed form (NFC), without blanks around it. Raises InputError."""
    name = _kept(name)
    if not 1 <= len(name) <= MAX_NAME:
        raise InputError(
            f"a place's name has 1 to {MAX_NAME} characters, and this one {len(name)}; give it another one"
        )
    if any(unicodedata.category(character) in _REFUSED for character in name):
        raise InputError(
            f"the place's name {name!r} holds a line's end or another control character; leave it out"
        )
    return name


def _kept(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip()


@dataclass
class Places:
    """P = MAX_PLACES rows, those without a name are free. Immutable by convention."""

    name: Tensor  # (P, 256) uint8, in UTF-8, the rest 0
    embedding: Tensor  # (P,) int64, next to which the place lies; NONE: forgotten, or a free row
    embedding_T_place: Tensor  # (P, 3) float64, of the robot's base at the place
    covariance: Tensor  # (P, 3, 3) float64 of embedding_T_place, in the place's axes
    confidence: Tensor  # (P,) float64, that it was right when it was added

    @staticmethod
    def empty(device: torch.device | str = "cpu") -> Places:
        """No place has a name."""

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(MAX_PLACES, *shape, dtype=torch.float64, device=device)

        return Places(
            name=torch.zeros(MAX_PLACES, _NAME_BYTES, dtype=torch.uint8, device=device),
            embedding=torch.full((MAX_PLACES,), NONE, dtype=torch.int64, device=device),
            embedding_T_place=zeros(3),
            covariance=zeros(3, 3),
            confidence=zeros(),
        )

    @property
    def _named(self) -> Tensor:
        """(P,) bool."""
        return (self.name != 0).any(-1)

    def check(self) -> None:
        """Raises InputError where there is something that ``put`` does not write; ranges are checked already."""
        if bool((torch.linalg.eigvalsh(self.covariance) < -1e-9).any()):
            raise InputError("the tensor 'places.covariance' holds what is no covariance")
        self.rows()

    def rows(self) -> dict[str, int]:
        """The row of each name. Raises InputError where one is none that ``put`` writes: a file may hold anything."""
        rows: dict[str, int] = {}
        for row in self._named.nonzero()[:, 0].tolist():
            try:
                name = bytes(self.name[row].tolist()).rstrip(b"\0").decode()
            except UnicodeDecodeError as error:
                raise InputError(f"the name of place {row} is no UTF-8") from error
            if checked_name(name) != name or name in rows:
                raise InputError(f"the name of place {row} is not in its kept form, or another one's, too")
            rows[name] = row
        return rows

    def row(self, name: str) -> int:
        """The row of a name. Raises NoSuchPlaceError."""
        rows = self.rows()
        row = rows.get(_kept(name))
        if row is None:
            names = ", ".join(sorted(rows)) or "none"
            raise NoSuchPlaceError(
                f"there is no place {name[:MAX_NAME]!r}; of the places there are: {names[:300]}"
            )
        return row

    def put(
        self, name: str, embedding: Tensor, embedding_T_place: Tensor, covariance: Tensor, confidence: float
    ) -> Places:
        """With a place of this name, which ``checked_name`` returned; one that has it is replaced.

        embedding (), the rest as in the fields. Raises InputError where no row is free.
        """
        row = self.rows().get(name)
        if row is None:
            free = (~self._named).nonzero()[:, 0]
            if not len(free):
                raise InputError(f"the memory has {MAX_PLACES} places, and no room for more; remove one")
            row = int(free[0])
        text = name.encode()
        return self._with(
            row,
            name=torch.frombuffer(bytearray(text.ljust(_NAME_BYTES, b"\0")), dtype=torch.uint8),
            embedding=embedding,
            embedding_T_place=embedding_T_place,
            covariance=covariance,
            confidence=torch.tensor(confidence),
        )

    def without(self, row: int) -> Places:
        """Without the place of this row."""
        return self._with(row, **{name: value[0] for name, value in vars(Places.empty()).items()})

    def forgetting(self, row: int) -> Places:
        """The place of this row has a name, but where it lies is not known."""
        return self._with(row, embedding=torch.tensor(NONE))

    def _with(self, row: int, **values: Tensor) -> Places:
        index = (torch.tensor(row, device=self.name.device),)
        return replace(
            self, **{n: (old := getattr(self, n)).index_put(index, v.to(old)) for n, v in values.items()}
        )

    def absorb(self, gone: Tensor, kept: Tensor, kept_T_gone: Tensor) -> Places:
        """Embedding ``gone`` () became part of ``kept`` (); kept_T_gone (3,): between their poses."""
        there = self.embedding == gone
        if not there.any():
            return self
        return replace(
            self,
            embedding=torch.where(there, kept, self.embedding),
            embedding_T_place=torch.where(
                there[:, None], compose(kept_T_gone, self.embedding_T_place), self.embedding_T_place
            ),
        )
