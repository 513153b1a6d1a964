"""Where a study keeps the features of its frozen extractors."""

from __future__ import annotations

from regaze.models.features import FeatureCache, parse_size
from regaze.models.options import MachineOptions
from regaze.study.folder import Study


def feature_cache(study: Study, machine: MachineOptions) -> FeatureCache:
    """The cache of one step; a new one for each, since it holds on to what it handed out.

    Raises:
        OptionError: `machine.cache` is no size.
    """
    return FeatureCache(study.path / "cache" / "features", parse_size(machine.cache))
