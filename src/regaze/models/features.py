"""Features of the frozen extractor, computed once per photograph and turn, and kept on the disk under a budget.

Fine-tuning never changes the extractor, so its features of a photograph in one of eight fixed positions (flips and
quarter turns) are the same in every epoch and every round.

Invariants: what comes from the cache equals, bit for bit, what computing it would give; a damaged entry is computed
again; several processes may use one folder at once; the folder may be deleted at any time.

Shapes: N photographs, B batch, S side of the cropped square, C_l channels and (H_l, W_l) cells of block l.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from regaze.errors import OptionError

TURNS = 8  # flips and quarter turns of a square

# Photographs per forward pass, always: the last batch is filled up, so that a photograph's features do not depend on
# which others happened to be missing (convolution libraries choose their algorithm by the shape of the batch).
_CHUNK = 16
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def turn(planes: Tensor, how: int) -> Tensor:
    """Turn pictures, masks or maps; exact, so that a correction stays on its lesion to the pixel.

    Args:
        planes: (..., S, S), any type.
        how: 0 to 7: `how % 4` quarter turns counter-clockwise, then from 4 on a flip left to right. 0: as it is.

    Returns:
        A view of the same shape where that is possible, else a copy.
    """
    turned = torch.rot90(planes, how % 4, dims=(-2, -1))
    return turned.flip(-1) if how >= 4 else turned


def normalise(images_B3SS: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Images as a network takes them: normalised, channels_last.

    Args:
        images_B3SS: (B, 3, S, S) float32, RGB in 0..1.
        mean: RGB in 0..1.
        std: Likewise.
    """
    shift, scale = (torch.tensor(rgb, device=images_B3SS.device).view(1, 3, 1, 1) for rgb in (mean, std))
    return ((images_B3SS - shift) / scale).contiguous(memory_format=torch.channels_last)


def parse_size(text: str) -> int:
    """Bytes that a text such as `4GB`, `500 MB` or `0` names.

    Raises:
        OptionError: It names no size.
    """
    stripped = text.strip().upper()
    digits = stripped.rstrip("BKMGT ")
    unit = stripped[len(digits) :].strip()
    try:
        size = float(digits) * _UNITS[unit]
        if not 0 <= size < float("inf"):
            raise ValueError
    except (KeyError, ValueError):
        raise OptionError(f"--cache {text}: expected a size such as 4GB or 500MB, or 0 for no cache.") from None
    return int(size)


class FeatureCache:
    """Entries of one folder under a budget, least recently used out first.

    What this object has handed out or taken is never evicted: where the budget is too small for one run, what does not
    fit is not kept (evicting what the next epoch needs would keep nothing of use).

    Args:
        folder: Made when the first entry is written.
        budget: Bytes; 0: keep nothing.
    """

    def __init__(self, folder: Path, budget: int) -> None:
        self.folder = folder
        self.budget = budget
        self._in_use: dict[str, list[Tensor]] = {}
        self._used = sum(size for _, size, _ in _entries(folder))
        self._full = False  # nothing is left to evict: the folder is not listed again for every entry

    def get(self, key: str) -> list[Tensor] | None:
        """The features under a key as read-only memory-mapped tensors (H, W, C); None where there are none."""
        if key in self._in_use:
            return self._in_use[key]
        path = self._path(key)
        stored = _read(path)
        if stored is not None:
            self._in_use[key] = stored
            with contextlib.suppress(OSError):  # another process may have evicted it; the mapping stays valid
                os.utime(path)
        return stored

    def put(self, key: str, features: Sequence[Tensor]) -> None:
        """Keep features, (H, W, C) each, where the budget allows it; a full disk is no error."""
        size = sum(item.numel() * item.element_size() for item in features)
        if size > self.budget or not self._make_room(size):
            return
        path = self._path(key)
        with contextlib.suppress(OSError, SafetensorError):  # a full disk: it is computed each time
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, features)
            self._used += path.stat().st_size
            stored = _read(path, check=False)
            if stored is not None:
                self._in_use[key] = stored

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"

    def _make_room(self, size: int) -> bool:
        """Evict what this object has not touched, oldest use first, until `size` bytes fit; False: they do not."""
        if self._used + size <= self.budget:
            return True
        if self._full:
            return False
        entries = _entries(self.folder)
        self._used = sum(entry_size for _, entry_size, _ in entries)
        others = sorted(entry for entry in entries if entry[2].stem not in self._in_use)
        # A tenth more than needed, so that a full cache is not listed anew for every entry.
        wanted = self.budget - size - self.budget // 10
        if self._used - sum(entry_size for _, entry_size, _ in others) + size > self.budget:
            self._full = True
            return False
        for _, entry_size, path in others:
            if self._used <= wanted:
                break
            with contextlib.suppress(OSError):
                path.unlink()
            self._used -= entry_size
        return self._used + size <= self.budget


class FrozenFeatures:
    """The frozen extractor as a function of (photograph, turn).

    Args:
        extractor: images -> features per block, finest first; put into evaluation mode, moved to the device.
        images_NSSC: (N, S, S, 3) uint8, RGB, cropped pixels.
        mean, std: Normalisation, RGB in 0..1.
        device: For the extractor and the features.
        bf16: Compute under autocast, and keep bfloat16.
        cache: Where features are kept; None: computed each time.
        steady: Compute in batches of one size, so that the last bits do not depend on a photograph's company. Off,
            one photograph costs one pass and not a whole batch's.
    """

    def __init__(
        self,
        extractor: nn.Module,
        images_NSSC: Tensor,
        mean: Sequence[float],
        std: Sequence[float],
        device: torch.device,
        *,
        bf16: bool,
        cache: FeatureCache | None = None,
        steady: bool = True,
    ) -> None:
        self.extractor = extractor.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self.images = images_NSSC
        self.device = device
        self.bf16 = bf16
        self.cache = cache if cache is not None and cache.budget > 0 else None
        self.steady = steady
        self._normalisation = (mean, std)
        settings = (str(extractor), tuple(mean), tuple(std), bf16, device.type, torch.__version__, _CHUNK)
        self._photograph_hashes: dict[int, bytes] = {}  # by index, made once
        self._extractor_hash = _hash_extractor(extractor, repr(settings)) if self.cache is not None else ""

    @torch.no_grad()
    def compute(self, images_B3SS: Tensor) -> list[Tensor]:
        """Features of normalised images on the device: one (B, C_l, H_l, W_l) tensor per block."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            features: list[Tensor] = self.extractor(images_B3SS)
        return [item.detach() for item in features]

    def __call__(self, index: Tensor, turns: Sequence[int]) -> list[Tensor]:
        """Features of photographs, each in its turn.

        Args:
            index: (B,) int64, indices of the images.
            turns: B numbers 0..7, see `turn`.

        Returns:
            One (B, C_l, H_l, W_l) tensor per block on the device, channels_last.
        """
        wanted = list(zip(index.tolist(), turns, strict=True))
        if self.cache is None:
            known = dict(self._computed(list(dict.fromkeys(wanted))))
        else:
            keys = {item: self._key(*item) for item in wanted}
            stored = {item: self.cache.get(key) for item, key in keys.items()}
            known = {item: features for item, features in stored.items() if features is not None}
            for item, features in self._computed([item for item in stored if item not in known]):
                self.cache.put(keys[item], features)
                known[item] = features
        blocks = zip(*(known[item] for item in wanted), strict=True)
        return [torch.stack(list(block)).to(self.device, non_blocking=True).permute(0, 3, 1, 2) for block in blocks]

    def prepare(self) -> None:
        """Compute what the cache lacks of the photographs unturned, in full batches, as far as the budget goes.

        Asked for step by step, a batch with one photograph that is new costs as much as one with all of them new.
        """
        if self.cache is None:
            return
        keys = {(index, 0): self._key(index, 0) for index in range(len(self.images))}
        missing = [item for item, key in keys.items() if self.cache.get(key) is None]
        for start in range(0, len(missing), _CHUNK):
            for item, features in self._computed(missing[start : start + _CHUNK]):
                self.cache.put(keys[item], features)

    def _computed(self, items: list[tuple[int, int]]) -> list[tuple[tuple[int, int], list[Tensor]]]:
        """Features (H_l, W_l, C_l) on the CPU of photographs in their turns, in chunks of one size."""
        done: list[tuple[tuple[int, int], list[Tensor]]] = []
        for start in range(0, len(items), _CHUNK):
            chunk = items[start : start + _CHUNK]
            filled = chunk + [chunk[-1]] * (_CHUNK - len(chunk) if self.steady else 0)
            images = torch.stack([turn(self.images[index].permute(2, 0, 1), how) for index, how in filled])
            scaled = images.to(self.device, non_blocking=True).float() / 255
            features = self.compute(normalise(scaled, *self._normalisation))
            blocks = [item.permute(0, 2, 3, 1).contiguous().cpu() for item in features]
            done += [(item, [block[row] for block in blocks]) for row, item in enumerate(chunk)]
        return done

    def _key(self, index: int, how: int) -> str:
        state = hashlib.blake2b(self._extractor_hash.encode(), digest_size=16)
        if index not in self._photograph_hashes:
            self._photograph_hashes[index] = hashlib.blake2b(_bytes(self.images[index]), digest_size=16).digest()
        state.update(b"%d" % how)
        state.update(self._photograph_hashes[index])
        return state.hexdigest()


def _hash_extractor(extractor: nn.Module, settings: str) -> str:
    state = hashlib.blake2b(settings.encode(), digest_size=16)
    for name, tensor in extractor.state_dict().items():
        state.update(name.encode())
        state.update(_bytes(tensor.detach().cpu()))
    return state.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data


def _checksum(features: Sequence[Tensor]) -> str:
    value = 0
    for item in features:
        value = zlib.crc32(_bytes(item), value)
    return f"{value:08x}"


def _write(path: Path, features: Sequence[Tensor]) -> None:
    """Temporary name, then rename. No fsync: an entry that a crash left half written fails its checksum."""
    tensors = {f"block{number}": item.contiguous() for number, item in enumerate(features)}
    handle, name = tempfile.mkstemp(prefix=".writing-", dir=path.parent)
    os.close(handle)
    try:
        save_file(tensors, name, {"crc32": _checksum(list(tensors.values()))})
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def _read(path: Path, check: bool = True) -> list[Tensor] | None:
    """Memory-mapped tensors of an entry; None where there is none or it is damaged."""
    try:
        with safe_open(path, framework="pt") as stream:
            features = [stream.get_tensor(f"block{number}") for number in range(len(stream.keys()))]
            if check and (stream.metadata() or {}).get("crc32") != _checksum(features):
                return None
            return features
    except (SafetensorError, OSError):
        return None


def _entries(folder: Path) -> list[tuple[int, int, Path]]:
    """(time of the last use in ns, bytes, path) of each entry."""
    entries = []
    for path in folder.glob("*/*.safetensors"):
        with contextlib.suppress(OSError):
            status = path.stat()
            entries.append((status.st_mtime_ns, status.st_size, path))
    return entries
