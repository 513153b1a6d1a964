"""What people call the things in their photographs: lesions of patients' eyes, or defects of parts.

Invariant: no sentence about a study names a patient, a lesion or an eye but by these words; where nobody knows yet what
the photographs show, it speaks of marks and groups. Keys of JSON and names of options are no words.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace

from regaze.records import Dataset

_COLUMN = "column "  # begins `Dataset.named_by` where a column names the groups


@dataclass(frozen=True)
class Words:
    """The words of one study, in the singular.

    Attributes:
        lesion: What an expert marks in a photograph.
        patient: What photographs belong to that the split keeps together.
        eye: What a photograph shows.
        healthy: Without a mark to make, as an adjective.
        clinician: Who drew boxes, with an article.
    """

    lesion: str
    patient: str
    eye: str
    healthy: str
    clinician: str

    @property
    def lesions(self) -> str:
        """Of `lesion` the plural; likewise the next."""
        return f"{self.lesion}s"

    @property
    def patients(self) -> str:
        """See `lesions`."""
        return f"{self.patient}s"

    def fill(self, text: str) -> str:
        """Put the words into a sentence of ours: `Attention on {lesions}`, `{Lesions} unknown`."""
        words = asdict(self) | {"lesions": self.lesions, "patients": self.patients}
        return text.format_map(words | {name.capitalize(): word.capitalize() for name, word in words.items()})


EYES = Words("lesion", "patient", "eye", "healthy", "a clinician")
PARTS = Words("defect", "group", "part", "sound", "an expert")


def words_of(dataset: Dataset) -> Words:
    """The words for a data set; of parts a group goes by the name of the table's column that names it."""
    if dataset.eyes:
        return EYES
    name = (dataset.named_by or "").partition(" and ")[0]
    column = re.sub(r"[_ -]?(ids?|no|number|name|code)$", "", name.removeprefix(_COLUMN).casefold())
    is_word = name.startswith(_COLUMN) and re.fullmatch(r"[^\W\d_]+", column) and not column.endswith("s")
    return replace(PARTS, patient=column) if is_word else PARTS
