"""Does an expert need to see this photograph?

Invariant: two kinds of photograph need one: those that the model misgrades, and those that it grades right while its
map misses the lesions. What was not measured is never called fine.
"""

from __future__ import annotations

from regaze.records import Diagnosis

# The paper speaks of maps that miss the lesions without a number; these two are ours. A random map scatters its energy
# evenly, which gives an enrichment of 1.
MIN_RANK = 0.3
MIN_ENRICHMENT = 2.0


def diagnose(
    label: int | None,
    grade: int,
    relevance_rank: float | None,
    enrichment: float | None,
    *,
    has_lesions: bool | None,
    min_rank: float = MIN_RANK,
    min_enrichment: float = MIN_ENRICHMENT,
) -> Diagnosis:
    """Say whether a photograph is graded right for the right reason.

    A wrong grade comes first, whatever the map shows. Then the map misses the lesions if *either* measure is too low.
    A photograph without a label cannot be misgraded and is judged by its map alone.

    Args:
        label: The true class index, or None where it is unknown.
        grade: The class index that the model gave.
        relevance_rank: Share of the top-k pixels of the map that lie in lesions, k = number of lesion pixels, 0..1;
            None where it was not measured; NaN (a map without any order) counts as a miss.
        enrichment: Energy of the map inside lesions over the share of the image that they cover, 0 or more; None where
            it was not measured; NaN (a map without energy) counts as a miss.
        has_lesions: Whether masks or boxes show at least one lesion; None where nothing is known about lesions.
        min_rank: A relevance rank below this misses the lesions, 0..1.
        min_enrichment: An enrichment below this misses the lesions, 0 or more.

    Returns:
        `misgraded`; `elsewhere`: graded right (or without a label) while the map misses known lesions; `fine`: graded
        right, and the map is on the lesions or there are none; `unknown`: graded right, and whether the map is right
        cannot be told.
    """
    if label is not None and label != grade:
        return "misgraded"
    if has_lesions is None:
        return "unknown"
    if not has_lesions:
        return "fine"
    measured = ((relevance_rank, min_rank), (enrichment, min_enrichment))
    # `not >=` and never `<`, so that NaN is a miss.
    if any(value is not None and not value >= least for value, least in measured):
        return "elsewhere"
    return "unknown" if relevance_rank is None or enrichment is None else "fine"
