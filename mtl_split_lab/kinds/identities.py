"""How well objects are followed from frame to frame: IDF1, HOTA and its parts, as TrackEval computes them."""

from collections.abc import Sequence
from dataclasses import dataclass

import motrics
import numpy as np
import numpy.typing as npt

from mtl_split_core.scene import Detections, Truth
from mtl_split_lab.kinds.overlaps import overlaps

LEAST_OVERLAP = 0.5
"""Intersection over union from which on a detection is an object, for IDF1 and switches; HOTA goes through all."""


@dataclass(frozen=True)
class IdentityScore:
    """Figures of tracking, 0 to 1, but for switches.

    idf1: how well whole tracks agree with whole objects; hota: detection and association in one; deta, assa: each of
    them alone; switches: how often an object got another identity.
    """

    idf1: float
    hota: float
    deta: float
    assa: float
    switches: int


def score_identities(pairs: Sequence[tuple[Truth, Detections]], least_score: float) -> IdentityScore | None:
    """Score the tracks in consecutive frames of any number of drives, whose identities all differ.

    Detections count from `least_score` on, if they have an identity. Labels do not count: whether an object is taken
    for what it is, average precision tells. Objects to be ignored, and those without an identity, neither reward nor
    punish; where a truth names its `labelled` labels, nothing of other labels counts. None without a true identity, or
    where nothing was followed.
    """
    if not any(any(truth.ids) for truth, _ in pairs) or not any(found.ids for _, found in pairs):
        return None
    truths: list[list[int]] = []
    tracks: list[list[int]] = []
    similarities: list[list[list[float]]] = []
    numbers: dict[tuple[str, str], int] = {}
    for truth, found in pairs:
        labelled = truth.labelled
        known = truth.ids or ("",) * len(truth.labels)
        wanted = np.array([bool(one) for one in known], np.bool_) & ~truth.ignore & _counted(truth.labels, labelled)
        followed = np.array([bool(one) for one in found.ids or ("",) * len(found.labels)], np.bool_)
        shown = followed & (found.scores >= least_score) & _counted(found.labels, labelled)
        objects, tracked = np.flatnonzero(wanted), found.take(np.flatnonzero(shown))
        shared, inside = overlaps(tracked.boxes, truth.boxes)
        similarity, uncounted = shared[:, objects], inside[:, ~wanted].max(axis=1, initial=0) >= LEAST_OVERLAP
        kept = np.flatnonzero(~uncounted | (similarity.max(axis=1, initial=0) >= LEAST_OVERLAP))
        truths.append([numbers.setdefault(("truth", known[i]), len(numbers)) for i in objects])
        tracks.append([numbers.setdefault(("track", tracked.ids[i]), len(numbers)) for i in kept])
        similarities.append(similarity[kept].T.astype(np.float64).tolist())
    if not any(truths):
        return None
    whole = motrics.compute_identity_from_similarity(truths, tracks, similarities, LEAST_OVERLAP)
    hota = motrics.compute_hota_from_similarity(truths, tracks, similarities)
    clear = motrics.compute_clear_from_similarity(truths, tracks, similarities, LEAST_OVERLAP)
    return IdentityScore(whole.idf1, hota.hota, hota.deta, hota.assa, clear.num_switches)


def _counted(labels: Sequence[str], labelled: frozenset[str] | None) -> npt.NDArray[np.bool_]:
    return np.array([labelled is None or label in labelled for label in labels], np.bool_)
