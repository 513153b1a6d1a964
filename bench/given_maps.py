"""Does a better map make a better grade? Gives a study's models other maps than their own (the paper's figure 1).

For each model with attention, on the validation photographs: its own maps; the expert's maps M' where lesions are known
(its own elsewhere); empty maps; full maps. What the expert's maps gain is the most that map correction alone could gain
through the attention mechanism of a model as it is.

Usage: python bench/given_maps.py STUDY   (prints Markdown)
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from regaze.console import Voice
from regaze.evaluation.grading import quadratic_weighted_kappa
from regaze.models.folder import load_model
from regaze.models.predictor import Predictor, decode, evaluating
from regaze.study.folder import Study, open_study
from regaze.study.lesions import known_lesions, targets

VARIANTS = ("its own", "the expert's", "empty", "full")


def main() -> None:
    """Measure and print."""
    study = open_study(Path(sys.argv[1]), Voice(quiet=True))
    print("| model | maps | kappa | accuracy | grades that change |")
    print("|---|---|---|---|---|")
    for name in study.models():
        if not study.card(name).has_maps:
            continue
        labels, grades = judge(study, name)
        for variant in VARIANTS:
            kappa = quadratic_weighted_kappa(labels, grades[variant], len(study.classes))
            accuracy = (labels == grades[variant]).mean()
            changed = (grades[variant] != grades["its own"]).mean()
            print(f"| {name} | {variant} | {kappa:.3f} | {accuracy:.3f} | {changed:.1%} |")


def judge(study: Study, name: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Labels, and grades per variant, of all validation photographs with a grade."""
    labels: list[int] = []
    grades: dict[str, list[np.ndarray]] = {variant: [] for variant in VARIANTS}
    for fold in study.folds:
        predictor, card = load_model(study.model_folder(name, fold))
        samples = [sample for sample in study.validation(fold) if sample.label is not None]
        pixels = study.pixels(samples, card.size)
        masks, known = known_lesions(samples, pixels, study.dataset.ordinal)
        labels += [sample.label for sample in samples if sample.label is not None]
        for start in range(0, len(samples), predictor.batch):
            part = slice(start, start + predictor.batch)
            probabilities = variants(predictor, pixels.images[part], masks[part], known[part])
            for variant, shares in probabilities.items():
                grades[variant].append(decode(shares, card.decoding))
    return np.array(labels), {variant: np.concatenate(parts) for variant, parts in grades.items()}


def variants(predictor: Predictor, images: np.ndarray, masks: np.ndarray, known: np.ndarray) -> dict[str, np.ndarray]:
    """Probabilities (B, K) of a batch under each variant of its maps."""
    network = predictor.network
    batch = predictor.normalise(images)
    with evaluating(network), torch.autocast(predictor.device.type, torch.bfloat16, enabled=predictor.bf16):
        features = network.extractor(batch)
        plain = network.branches(features)
    grids = [(int(item.shape[2]), int(item.shape[3])) for item in plain.maps]
    wanted = [torch.from_numpy(item).unsqueeze(1).to(predictor.device) for item in targets(masks, grids)]
    sure = torch.from_numpy(known).view(-1, 1, 1, 1).to(predictor.device)
    given: dict[str, list[Tensor] | None] = {
        "its own": None,
        "the expert's": [torch.where(sure, new, old.float()) for new, old in zip(wanted, plain.maps, strict=True)],
        "empty": [torch.zeros_like(item) for item in plain.maps],
        "full": [torch.ones_like(item) for item in plain.maps],
    }
    probabilities = {}
    for variant, maps in given.items():
        with evaluating(network), torch.autocast(predictor.device.type, torch.bfloat16, enabled=predictor.bf16):
            output = network.branches(features, maps)
        probabilities[variant] = torch.softmax(output.logits.float(), dim=1).cpu().numpy()
    return probabilities


if __name__ == "__main__":
    main()
