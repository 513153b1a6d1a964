"""A model folder: `model.safetensors` beside its card, no pickle."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from regaze.errors import ModelError
from regaze.files import replacing, write_json
from regaze.models.backbones import count_parameters
from regaze.models.build import Network, build_network
from regaze.models.card import ModelCard, check_weights, file_hash, read_card
from regaze.models.options import MachineOptions, NetworkOptions
from regaze.models.precision import predicting
from regaze.models.predictor import Predictor

_GIANT = 2**30  # bytes of a backbone that any machine holds
_PART = 16  # a network may leave its backbone's deepest stages out, which hold most of it


def save_model(folder: Path, network: Network, card: ModelCard) -> None:
    """Write a model folder; an existing one is replaced only as a whole file at a time, card last.

    Args:
        folder: Made where it is missing.
        network: Its weights are written, from any device.
        card: Written with the hash of these weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with replacing(folder / "model.safetensors") as temporary:
        save_file(state, temporary)
        weights = file_hash(temporary)
    write_json(folder / "model.json", asdict(replace(card, weights=weights)))


def load_network(folder: Path, card: ModelCard) -> Network:
    """Build the card's network with the folder's weights, in evaluation mode on the CPU.

    Args:
        folder: What `save_model` wrote.
        card: Its card.

    Raises:
        ModelError: The weights are missing, damaged, another model's, or do not fit the card.
    """
    path = folder / "model.safetensors"
    _refuse_giant(path, card)
    # Without pretrained weights: the folder brings its own.
    built = build_network(replace(card.network, weights="none"), len(card.classes), card.size)
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error
    check_weights(folder, card)
    try:
        built.network.load_state_dict(state)
    except RuntimeError as error:
        raise _unfit(path, str(error).splitlines()[-1].strip()) from error
    built.network.eval()
    return built.network


def check_fit(folder: Path, card: ModelCard) -> None:
    """Make sure that a folder's weights are the card's, and the whole network that it describes; none is loaded.

    Args:
        folder: What `save_model` wrote.
        card: Its card.

    Raises:
        ModelError: The weights are missing, damaged, another model's, or do not fit the card.
    """
    check_weights(folder, card)
    path = folder / "model.safetensors"
    _refuse_giant(path, card)
    expected = _shapes(replace(card.network, weights="none"), len(card.classes), card.size)
    try:
        with safe_open(path, framework="pt") as stream:
            found = {name: tuple(stream.get_slice(name).get_shape()) for name in stream.keys()}  # noqa: SIM118 - no dict
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error
    if found != expected:
        odd = min(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        sizes = [text.get(odd, "missing") for text in (found, expected)]
        raise _unfit(path, f"{odd} is {sizes[0]}, expected {sizes[1]}")


def _refuse_giant(path: Path, card: ModelCard) -> None:
    """Refuse a card whose backbone would take gigabytes that its weights cannot fill, before it is built."""
    wanted, held = 4 * count_parameters(card.network.backbone), path.stat().st_size if path.is_file() else 0
    if wanted > _GIANT and wanted > _PART * held:
        raise _unfit(path, f"{card.network.backbone} has {wanted / 2**30:.1f} GiB of weights, the file {held} bytes")


def _unreadable(path: Path, error: Exception) -> ModelError:
    return ModelError(f"{path} cannot be read ({error}): train the model again or restore the file.")


def _unfit(path: Path, reason: str) -> ModelError:
    return ModelError(f"{path} does not fit its model.json ({reason}): the two files are not of one model.")


@lru_cache(maxsize=16)
def _shapes(network: NetworkOptions, classes: int, size: int) -> dict[str, tuple[int, ...]]:
    """The tensors of a network: name -> shape."""
    state = build_network(network, classes, size).network.state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def load_model(folder: Path, machine: MachineOptions | None = None, batch: int = 32) -> tuple[Predictor, ModelCard]:
    """A model folder, ready to predict.

    Args:
        folder: What `save_model` wrote.
        machine: Device and precision; default: automatic. See `precision.predicting` for the one that it gets.
        batch: Photographs per forward pass.

    Raises:
        ModelError: The folder is no model folder, is damaged, or was written by a newer version.
    """
    card = read_card(folder)
    network = load_network(folder, card)
    settled = predicting(card, machine or MachineOptions())
    predictor = Predictor(network, card.mean, card.std, card.decoding, settled, batch)
    return predictor, card
