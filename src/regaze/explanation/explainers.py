"""Which pixels mattered: one signature for every explainer, for plain networks and for attention networks.

Invariants: a larger value means more important, and only the order is promised; the network is left exactly as it was
(see `job.resting`), also after an exception; one photograph's map does not depend on which others share its batch;
the same seed gives the same maps.

The libraries are an extra (`pip install regaze[explain]`), imported when their explainer runs; the attention maps, the
evidence, the class activation map, Grad-CAM++ and RISE need none.

Shapes: N photographs, S side of the cropped square, K classes.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regaze.errors import ModelError, OptionError
from regaze.explanation.forward import attention, class_activation, evidence
from regaze.explanation.gradients import grad_cam, grad_cam_plus_plus, integrated_gradients, layer_cam
from regaze.explanation.job import Job, Settings, resting
from regaze.explanation.perturbations import occlusion, rise
from regaze.models.build import Network
from regaze.models.network import AttentionNetwork, PlainNetwork
from regaze.models.predictor import Predictor, Progress

_MOST_SCALES = 4  # of `NetworkOptions.scales`


@dataclass(frozen=True)
class Explainer:
    """One way to explain.

    Attributes:
        title: What a person reads above its map.
        text: What it shows, in a few words.
        method: A batch -> (B, S, S) float32.
        kind: The kind of network that it needs; None: any.
        scale: Number of scales that the network must have at least.
        package: The library that it needs, or None.
        quick: True where it costs a few passes; False: dozens to thousands for each photograph.
        of_class: True where it explains a class; False: one map, whatever the class.
        signed: True where the sign says something: above 0 for the class, below 0 against it.
    """

    title: str
    text: str
    method: Callable[[Job], Tensor]
    kind: type[Network] | None = None
    scale: int = 1
    package: str | None = None
    quick: bool = True
    of_class: bool = True
    signed: bool = False

    def fits(self, network: Network) -> bool:
        """True where it can explain this network."""
        return (self.kind is None or isinstance(network, self.kind)) and network.scales >= self.scale

    def installed(self) -> bool:
        """True where its library is there, or it needs none."""
        return self.package is None or importlib.util.find_spec(self.package) is not None


_attention = partial(Explainer, kind=AttentionNetwork, of_class=False)

EXPLAINERS: Mapping[str, Explainer] = MappingProxyType(
    {
        "attention": _attention("Attention", "the network's own maps, all blocks", attention),
        **{
            f"scale{number}": _attention(
                f"Attention, block {number}",
                "the network's own map of one block",
                partial(attention, scale=number - 1),
                scale=number,
            )
            for number in range(1, _MOST_SCALES + 1)
        },
        "evidence": Explainer(
            "Evidence", "what each place adds to the class", evidence, kind=AttentionNetwork, signed=True
        ),
        "cam": Explainer("CAM", "evidence for the class", class_activation, kind=PlainNetwork),
        "grad-cam": Explainer("Grad-CAM", "features weighted by mean gradient", grad_cam, package="captum"),
        "grad-cam++": Explainer("Grad-CAM++", "features weighted by positive gradient", grad_cam_plus_plus),
        "layer-cam": Explainer("Layer-CAM", "features weighted cell by cell", layer_cam, package="torchcam"),
        "integrated-gradients": Explainer(
            "Integrated Gradients",
            "gradient from grey to photograph",
            integrated_gradients,
            package="captum",
            quick=False,
        ),
        "occlusion": Explainer(
            "Occlusion", "what the class loses when hidden", occlusion, package="captum", quick=False
        ),
        "rise": Explainer("RISE", "what the class keeps when shown", rise, quick=False),
    }
)


def available(network: Network) -> tuple[str, ...]:
    """Names of the explainers that fit the network and whose library is installed, in the order of `EXPLAINERS`."""
    return tuple(name for name, item in EXPLAINERS.items() if item.fits(network) and item.installed())


def explain(
    predictor: Predictor,
    images_NSSC: NDArray[np.uint8],
    by: str,
    classes: NDArray[np.int64] | None = None,
    *,
    progress: Progress | None = None,
    settings: Settings | None = None,
) -> NDArray[np.float32]:
    """Importance of each pixel of photographs.

    In the predictor's precision where the predictor shows the same maps (attention, evidence, CAM) and where thousands
    of probabilities are added up (RISE); the others in fp32, since bfloat16 would round what is to be ranked.

    Args:
        predictor: Gives network, device, precision, and photographs per forward pass.
        images_NSSC: (N, S, S, 3) uint8, RGB, cropped pixels.
        by: A name in `EXPLAINERS`.
        classes: (N,) the class to explain for each photograph; None: the model's arg-max on the photograph (which is
            not always the decoded grade). Explainers that are not `of_class` do not look at it.
        progress: Called with (photographs done, N).
        settings: See `Settings`; default: its defaults.

    Returns:
        (N, S, S) float32, finite, larger = more important; attention maps before their sigmoid. Memory beyond it is
        that of one batch.

    Raises:
        OptionError: There is no such explainer, or its library is not installed.
        ModelError: It does not fit the network, or the network gives values that are not finite.
        ValueError: Images or classes of the wrong shape, or a class that the network does not have.
    """
    explainer = find(by, predictor.network)
    _check(images_NSSC, classes, predictor.network.classes)
    importance = np.empty(images_NSSC.shape[:3], np.float32)
    size = None if explainer.quick else 1  # the slow ones fill their batches with one photograph
    with resting(predictor.network, predictor.device):
        for rows in predictor.batches(len(images_NSSC), progress, size):
            images_B3SS = predictor.normalise(images_NSSC[rows])
            chosen = _chosen(predictor, images_B3SS, None if classes is None else classes[rows], explainer)
            maps = explainer.method(Job(predictor, images_B3SS, chosen, settings or Settings()))
            if not bool(torch.isfinite(maps).all()):
                raise ModelError(
                    f"The model gives values that are not finite, {by} cannot rank them: train the model again, "
                    "or pass --precision fp32."
                )
            importance[rows] = maps.cpu().numpy()
    return importance


def find(by: str, network: Network) -> Explainer:
    """The explainer of a name, ready for the network.

    Args:
        by: A name in `EXPLAINERS`.
        network: What is to be explained.

    Raises:
        OptionError: There is no such explainer, or its library is not installed.
        ModelError: It does not fit the network.
    """
    names = ", ".join(name for name, item in EXPLAINERS.items() if item.fits(network))
    if by not in EXPLAINERS:
        raise OptionError(f"There is no explainer {by!r}: this model takes {names}.")
    explainer = EXPLAINERS[by]
    if not explainer.fits(network):
        plain = isinstance(network, PlainNetwork)
        kind = "a plain network" if plain else f"an attention network of {network.scales} scale(s)"
        raise ModelError(f"The explainer {by} does not fit {kind}: this model takes {names}.")
    require(by)
    return explainer


def require(by: str) -> None:
    """Refuse an explainer whose library is missing.

    Raises:
        OptionError: It is not installed.
    """
    explainer = EXPLAINERS[by]
    if not explainer.installed():
        raise OptionError(
            f"The explainer {by} needs {explainer.package}, which is not installed: pip install 'regaze[explain]'."
        )


def _check(images_NSSC: NDArray[np.uint8], classes: NDArray[np.int64] | None, n_classes: int) -> None:
    shape = images_NSSC.shape
    if images_NSSC.ndim != 4 or shape[1] != shape[2] or shape[3] != 3 or images_NSSC.dtype != np.uint8:
        raise ValueError(f"images have shape {shape} and dtype {images_NSSC.dtype}: expected (N, S, S, 3) uint8.")
    if classes is None:
        return
    if classes.shape != (len(images_NSSC),) or classes.dtype.kind not in "iu":
        raise ValueError(
            f"classes have shape {classes.shape}, {classes.dtype}: expected ({shape[0]},) of whole numbers."
        )
    if len(classes) and (int(classes.min()) < 0 or int(classes.max()) >= n_classes):
        raise ValueError(f"classes lie in {classes.min()}..{classes.max()}: the network has 0..{n_classes - 1}.")


def _chosen(
    predictor: Predictor, images_B3SS: Tensor, classes: NDArray[np.int64] | None, explainer: Explainer
) -> Tensor:
    """(B,) int64 on the device: the classes to explain."""
    if classes is not None:
        chosen = [int(item) for item in classes]
    elif not explainer.of_class:
        chosen = [0] * len(images_B3SS)
    else:
        # In the predictor's precision, which decides what the user is told. By way of a list: `scores` gives a tensor
        # of inference mode, which autograd may not keep.
        chosen = predictor.scores(images_B3SS).argmax(dim=1).tolist()
    return torch.tensor(chosen, device=predictor.device, dtype=torch.int64)
