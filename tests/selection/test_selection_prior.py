"""The prior that is learned from corrections, on features whose answer is known."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge

from regaze.selection import prior as prior_module
from regaze.selection.prior import Prior

N, C, SIDE = 40, 6, 8


def _photographs(seed, n=N, carrier=3, noise=0.1):
    """Features of noise, one channel carries the lesion on another scale; soft targets; one in four healthy."""
    rng = np.random.default_rng(seed)
    targets = np.zeros((n, SIDE, SIDE))
    for index in range(n):
        if index % 4:
            y, x = rng.integers(0, SIDE - 1, size=2)
            targets[index, y : y + 2, x : x + 2] = [[1.0, 0.6], [0.6, 0.3]]
    features = rng.normal(size=(n, C, SIDE, SIDE)) * 5 + 20
    if carrier is not None:
        features[:, carrier] = 100 * targets - 7 + rng.normal(size=targets.shape) * 100 * noise
    return features.astype(np.float32), targets.astype(np.float32)


def _with_cells(monkeypatch, cells, features, targets, seed=0):
    """A prior learned from that many cells at most."""
    monkeypatch.setattr(prior_module, "_CELLS", cells)
    return Prior.fit(features, targets, seed=seed)


def test_a_channel_that_carries_the_lesion_is_found():
    """On photographs never seen the expectation is the truth, far better than the mean map, and the error says so."""
    prior = Prior.fit(*_photographs(0), seed=0)
    features, targets = _photographs(1)
    expected = prior.expected(features)
    assert (expected.shape, expected.dtype) == ((N, SIDE, SIDE), np.float64)
    assert expected.min() >= 0
    assert expected.max() <= 1
    error = ((expected - targets) ** 2).mean()
    error_mean = ((prior.mean - targets) ** 2).mean()
    assert error < 0.4 * error_mean
    # The cross-validated numbers foretell those on new photographs.
    assert prior.error == pytest.approx(error, rel=0.3)
    assert prior.error_mean == pytest.approx(error_mean, rel=0.3)
    shares = np.abs(prior.weights) * features.std(axis=(0, 2, 3))
    assert shares.argmax() == 3
    assert shares[3] > 20 * np.delete(shares, 3).max()


def test_the_distance_stands_in_for_map_error():
    """Maps that are wrong to different degrees: the distance orders them as the true squared error does."""
    prior = Prior.fit(*_photographs(0), seed=0)
    features, targets = _photographs(2)
    rng = np.random.default_rng(3)
    wrong = rng.uniform(0, 1, size=N)[:, None, None]
    maps = (1 - wrong) * targets + wrong * rng.uniform(0, 1, size=targets.shape)
    truth = ((maps - targets) ** 2).mean(axis=(1, 2))
    distance = prior.distance(features, maps.astype(np.float16))
    assert spearmanr(distance, truth).statistic > 0.95
    # In the same unit: as lengths the two differ by no more than the error of the expectation (triangle inequality).
    slack = np.sqrt(((prior.expected(features) - targets) ** 2).mean(axis=(1, 2)))
    assert (np.abs(np.sqrt(distance) - np.sqrt(truth)) <= slack + 1e-3).all()
    assert slack.max() < 0.2


def test_the_distance_by_hand():
    """Mean squared difference to the expected map; 0 for the expected map itself."""
    features, targets = _photographs(0)
    prior = Prior.fit(features, targets, seed=0)
    expected = prior.expected(features[:2])
    np.testing.assert_allclose(prior.distance(features[:2], expected), 0, atol=1e-12)
    half = np.zeros((1, 2, 2))
    alike = np.zeros((2, 1, 2, 2))
    flat = Prior.fit(alike, np.array([[[0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]]]), groups=["p", "p"])
    np.testing.assert_array_equal(flat.mean, [[0, 1], [0.5, 0]])
    assert flat.distance(alike[:1], half).tolist() == [pytest.approx((1 + 0.25) / 4)]


def test_all_cells_are_scikit_learns_ridge(monkeypatch):
    """Without drawing, the weights are those of Ridge on standardised cells with the penalty that was chosen."""
    features, targets = _photographs(5)
    monkeypatch.setattr(prior_module, "_CELLS", 10**6)
    prior = Prior.fit(features, targets, seed=0)
    rows = features.astype(np.float64).transpose(0, 2, 3, 1).reshape(-1, C)
    scaled = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    found = []
    for penalty in prior_module._PENALTIES:
        ridge = Ridge(alpha=penalty * len(rows)).fit(scaled, targets.ravel())
        found.append(np.clip(ridge.predict(scaled), 0, 1).reshape(targets.shape))
    gaps = [np.abs(one - prior.expected(features)).max() for one in found]
    assert min(gaps) < 1e-5
    assert sorted(gaps)[1] > 1e-4  # the others are other models


def test_the_errors_are_those_of_photographs_held_out(monkeypatch):
    """Five photographs are five folds: scikit-learn's Ridge and the plain mean, each without the one it is tried on."""
    features, targets = _photographs(10, n=5)
    monkeypatch.setattr(prior_module, "_CELLS", 10**6)
    prior = Prior.fit(features, targets, seed=0)
    rows = features.astype(np.float64).transpose(0, 2, 3, 1)
    rows = (rows - rows.mean(axis=(0, 1, 2))) / rows.std(axis=(0, 1, 2))
    errors = np.zeros((len(prior_module._PENALTIES), 5))
    means = []
    for out in range(5):
        rest = [index for index in range(5) if index != out]
        means.append(((targets[rest].mean(axis=0) - targets[out]) ** 2).mean())
        for place, penalty in enumerate(prior_module._PENALTIES):
            ridge = Ridge(alpha=penalty * 4 * SIDE**2).fit(rows[rest].reshape(-1, C), targets[rest].ravel())
            guess = np.clip(ridge.predict(rows[out].reshape(-1, C)), 0, 1)
            errors[place, out] = ((guess - targets[out].ravel()) ** 2).mean()
    assert prior.error == pytest.approx(errors.mean(axis=1).min(), rel=1e-6)
    assert prior.error_mean == pytest.approx(np.mean(means), rel=1e-6)


@pytest.mark.parametrize("constant", [0.0, 0.1, 4.0])
def test_a_dead_channel_says_nothing(constant):
    """A channel that never moved in the corrected photographs has no weight when it moves in others."""
    features, targets = _photographs(9)
    features = features.astype(np.float64)  # in which 0.1 has no short form, so that its mean is not quite 0.1
    features[:, 0] = constant
    prior = Prior.fit(features, targets, seed=0)
    assert abs(prior.weights[0]) < 1e-9
    awake = features.copy()
    awake[:, 0] = constant + 50
    np.testing.assert_allclose(prior.expected(awake), prior.expected(features), atol=1e-6)


def test_drawn_cells_stand_for_whole_maps(monkeypatch):
    """Half of the cells are lesions, yet the expectation is as bright as the targets, and close to that of all."""
    features, targets = _photographs(6, n=120, noise=0.5)
    whole = _with_cells(monkeypatch, 10**6, features, targets)
    few = _with_cells(monkeypatch, 700, features, targets)
    new, truth = _photographs(7, n=120, noise=0.5)
    assert few.expected(new).mean() == pytest.approx(whole.expected(new).mean(), rel=0.15)
    error_few, error_whole = (((one.expected(new) - truth) ** 2).mean() for one in (few, whole))
    assert error_whole <= error_few < 1.1 * error_whole


def test_features_that_say_nothing_give_way_to_the_mean_map():
    """Lesions always in one place and features of noise: the mean map is used, and the errors say why."""
    rng = np.random.default_rng(0)
    targets = np.zeros((N, SIDE, SIDE))
    targets[:, 2:4, 2:4] = 1.0
    features = rng.normal(size=(N, C, SIDE, SIDE))
    prior = Prior.fit(features, targets, seed=0)
    assert prior.weights is None
    assert prior.error > prior.error_mean
    np.testing.assert_array_equal(prior.mean, targets[0])
    np.testing.assert_array_equal(prior.expected(features[:3]), targets[0])
    np.testing.assert_array_equal(prior.distance(features[:3], targets[:3]), np.zeros(3))


def test_patients_are_not_divided_by_the_cross_validation():
    """Features that know the patient but not the lesion look good only where a patient is on both sides."""
    rng = np.random.default_rng(0)
    n_patients = 10
    features = np.zeros((2 * n_patients, n_patients, SIDE, SIDE))
    targets = np.zeros((2 * n_patients, SIDE, SIDE))
    for patient in range(n_patients):
        bright = float(rng.integers(0, 2))
        for eye in (2 * patient, 2 * patient + 1):
            features[eye, patient] = 1.0
            targets[eye] = bright
    groups = [f"p{eye // 2}" for eye in range(2 * n_patients)]
    divided, whole = (Prior.fit(features, targets, seed=1, groups=one) for one in (None, groups))
    assert divided.error < 0.5 * divided.error_mean
    assert whole.error > 0.8 * whole.error_mean


@pytest.mark.parametrize(
    ("features", "targets"),
    [
        (np.ones((3, 4, 2, 2)), np.zeros((3, 2, 2))),  # nobody looked anywhere
        (np.ones((1, 4, 2, 2)), np.ones((1, 2, 2))),  # nothing to hold out
    ],
)
def test_too_little_to_learn_from_is_the_mean_map(features, targets):
    """No look, or a single photograph: no error is claimed."""
    prior = Prior.fit(features, targets)
    assert prior.weights is prior.error is prior.error_mean is None
    np.testing.assert_array_equal(prior.mean, targets[0])


def test_the_seed_decides_and_nothing_else(monkeypatch):
    """Same seed, same prior; another seed draws other cells; the global generator is left alone."""
    features, targets = _photographs(8, noise=0.5)
    state = np.random.get_state()[1].tolist()
    one, again, other = (_with_cells(monkeypatch, 300, features, targets, seed) for seed in (-4, -4, 5))
    np.testing.assert_array_equal(one.weights, again.weights)
    assert not np.array_equal(one.weights, other.weights)
    assert np.random.get_state()[1].tolist() == state


def test_parts_give_what_the_whole_gives(monkeypatch, tmp_path):
    """Few numbers at a time, half precision from a memory-mapped file: the same maps."""
    features, targets = _photographs(9)
    half = features.astype(np.float16)
    np.save(tmp_path / "features.npy", half)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    prior = Prior.fit(mapped, targets, seed=0)
    distance = prior.distance(half, targets)
    monkeypatch.setattr(prior_module, "_NUMBERS_AT_A_TIME", 1)
    np.testing.assert_allclose(prior.distance(mapped, targets), distance, atol=1e-9)
    assert prior.distance(half[:0], targets[:0]).shape == (0,)


def test_features_that_are_no_numbers_are_refused():
    """They would make every expectation NaN."""
    features, targets = _photographs(0)
    features[:, 1] = np.inf
    with pytest.raises(ValueError, match="features hold numbers that are not finite"):
        Prior.fit(features, targets)
