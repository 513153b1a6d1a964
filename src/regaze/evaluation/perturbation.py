"""Half-changed images, put to a model in full batches.

Invariant: one buffer of one batch is all the memory, however many images, maps and steps there are. Pixels are
changed in place: from one step to the next only the pixels of that step are written, so a row costs a copy of the image
and not a comparison per pixel, and the buffer has the layout that convolutions are fastest in (channels_last).

Suffixes: P = pixel in row-major order, C = channel, B = row of a batch, N = image, K = class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from regaze.errors import ModelError
from regaze.evaluation.picture import WHOLE, Picture

Scores = Callable[[Tensor], Tensor]


class Questions:
    """Collects rows, asks the model when a batch is full, and files the followed class's probabilities.

    Args:
        scores: (B, C, S, S) float32, channels_last, valid during the call alone -> (B, K) softmax probabilities.
        like: (N, C, S, S) the images; gives sizes and device.
        slots: Number of answers to be filed.
        batch: Rows per call of `scores`.
        classes: (N,) int64 on the images' device, the class to follow in each image; None: the arg-max of the row
            that was added with `decides`, which must come before the image's other rows.
    """

    def __init__(self, scores: Scores, like: Tensor, slots: int, batch: int, classes: Tensor | None) -> None:
        count, channels, side = like.shape[0], like.shape[1], like.shape[-1]
        self.answers = torch.zeros(slots, device=like.device)
        self._given = classes is not None
        self.classes = classes if classes is not None else torch.zeros(count, dtype=torch.int64, device=like.device)
        self._scores = scores
        self._buffer_BPC = torch.empty(batch, side * side, channels, device=like.device)
        self._rows_BCSS = self._buffer_BPC.view(batch, side, side, channels).permute(0, 3, 1, 2)
        self._slots: list[int] = []
        self._images: list[int] = []
        self._deciding: list[int] = []
        self._sound: Tensor | None = None

    def add(self, picture_PC: Tensor, image: int, slot: int, *, decides: bool = False) -> None:
        """Put one row to the model, now or when the batch is full; the picture is copied.

        Args:
            picture_PC: (P, C) float32.
            image: Index of the image that it was made from, 0..N-1.
            slot: Where its answer is filed.
            decides: It is the untouched image, whose arg-max is followed.
        """
        row = len(self._slots)
        self._buffer_BPC[row].copy_(picture_PC)
        self._slots.append(slot)
        self._images.append(image)
        if decides and not self._given:
            self._deciding.append(row)
        if row + 1 == len(self._buffer_BPC):
            self.flush()

    def flush(self) -> None:
        """Put what has been collected to the model.

        Raises:
            ValueError: Scores of another shape, or a class that they do not have.
            ModelError: Scores that are no probabilities (seen in the first batch, or by `close`).
        """
        if not self._slots:
            return
        device = self._buffer_BPC.device
        shares_BK = self._ask(len(self._slots))
        image_B = torch.tensor(self._images, device=device)
        if self._deciding:
            row = torch.tensor(self._deciding, device=device)
            self.classes[image_B[row]] = shares_BK[row].argmax(1)
        values_B = shares_BK.gather(1, self.classes[image_B][:, None])[:, 0]
        self.answers[torch.tensor(self._slots, device=device)] = values_B
        self._slots, self._images, self._deciding = [], [], []

    def close(self) -> None:
        """Put the rest to the model and check all that it said; raises as `flush`."""
        self.flush()
        self._judge()

    def _ask(self, count: int) -> Tensor:
        """(B, K) float32 of the first `count` rows of the buffer."""
        shares_BK = self._scores(self._rows_BCSS[:count])
        if shares_BK.ndim != 2 or len(shares_BK) != count:
            raise ValueError(
                f"scores of shape {tuple(shares_BK.shape)} for {count} images: return (B, K) probabilities"
            )
        shares_BK = shares_BK.to(device=self._buffer_BPC.device, dtype=torch.float32)
        # Softmax in half precision may end a hair above 1. The flag stays on the device: reading it after each
        # batch would make a graphics card wait. What is wrong from the start is caught in the first batch.
        sound = ((shares_BK >= 0) & (shares_BK <= 1 + 1e-3)).all()
        if self._sound is None:
            self._sound = sound
            self._judge()
            self._check_classes(shares_BK.shape[1])
        self._sound = self._sound & sound
        return shares_BK

    def _judge(self) -> None:
        if self._sound is not None and not bool(self._sound):
            raise ModelError(
                "The model's scores hold values outside 0..1 or NaN: expected softmax probabilities, not logits; "
                "if they are, training diverged: train again with a smaller learning rate."
            )

    def _check_classes(self, known: int) -> None:
        low, high = int(self.classes.min()), int(self.classes.max())
        if self._given and (low < 0 or high >= known):
            raise ValueError(f"classes span {low}..{high}, but the scores have classes 0..{known - 1}")


def pixel_order(
    values: Tensor, patch: int, shares: Sequence[float], picture: Picture = WHOLE
) -> tuple[Tensor, list[int]]:
    """In which order pixels are changed, and how many are after each step.

    Args:
        values: (S, S) float, one map in cropped pixels.
        patch: Side of the square patches that are changed as one, ranked by the mean of the map in them; the first lies
            in the picture's upper left corner, those at its right and lower edge may be cut off. 1: pixels.
        shares: Of the picture's positions (pixels or patches), how many are changed after 0, 1, .. n_steps steps, 0..1;
            brought to the nearest whole number.
        picture: Where in the square the photograph lies; the bars beside it are never changed.

    Returns:
        (P,) int64 the picture's pixels, by their index in the square, the first to be changed first; ties by position
        in row-major order. And how many pixels are changed after 0, 1, .. n_steps steps.
    """
    inside = values[picture]
    height, width = inside.shape
    pixels = torch.arange(values.numel(), device=values.device).view(values.shape)[picture].flatten()
    flat_P = inside.flatten()
    if patch == 1:
        cuts = [round(share * len(flat_P)) for share in shares]
        return pixels[torch.argsort(flat_P, descending=True, stable=True)], cuts
    flat_P = flat_P.cpu()  # Apple's graphics have no float64
    down, across = -(-height // patch), -(-width // patch)
    patch_P = (torch.arange(height)[:, None] // patch * across + torch.arange(width) // patch).flatten()
    sizes = torch.bincount(patch_P, minlength=down * across)
    # In double, so that patches of equal values have equal means whatever their size.
    means = torch.zeros(down * across, dtype=torch.float64).index_add_(0, patch_P, flat_P.double())
    order = torch.argsort(means / sizes, descending=True, stable=True)
    ranks = torch.empty_like(order).scatter_(0, order, torch.arange(down * across))
    changed = [0, *sizes[order].cumsum(0).tolist()]
    cuts = [changed[round(share * len(order))] for share in shares]
    return pixels[torch.argsort(ranks[patch_P], stable=True).to(values.device)], cuts
