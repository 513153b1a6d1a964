"""Promises of regaze.evaluation.picture: a wide photograph is measured as it would be without the bars that pad it."""

import numpy as np
import pytest
import torch

from regaze.evaluation.agreement import agree, auroc, lesion_enrichment, relevance_rank, squared_error
from regaze.evaluation.faithfulness import Procedure, area_under_curve, compare_orders
from regaze.evaluation.lesion_coverage import BUDGET, find_lesions, lesion_light, light
from regaze.evaluation.perturbation import pixel_order
from regaze.evaluation.picture import WHOLE, picture_cells
from regaze.evaluation.substrates import substituted

# 200 x 64 pixels in a square of 200: bars of 68 above and below; 10 x 10 cells, of which rows 3 to 6 hold the picture.
SIDE, WIDE = 200, (slice(68, 132), slice(0, 200))
CELLS = (slice(3, 7), slice(0, 10))


def padded(values, bars=0.0):
    """(64, 200) in the middle of the square, with something else on the bars."""
    square = np.full((SIDE, SIDE), bars, dtype=values.dtype)
    square[WIDE] = values
    return square


def wide(seed=0):
    """A map (64, 200) in 0..1 and a mask with two lesions."""
    mask = np.zeros((64, 200), bool)
    mask[10:20, 30:50] = mask[40:60, 150:153] = True
    return np.random.default_rng(seed).random((64, 200)), mask


def test_cells_by_hand():
    """Cells that hold any of the picture; a whole picture has all of them, and a finer grid its share."""
    assert picture_cells(WIDE, SIDE, (10, 10)) == CELLS
    assert picture_cells(WIDE, SIDE, (25, 50)) == (slice(8, 17), slice(0, 50))
    assert picture_cells(WHOLE, SIDE, (7, 7)) == (slice(0, 7), slice(0, 7))
    assert picture_cells((slice(0, 1), slice(199, 200)), SIDE, (4, 400)) == (slice(0, 1), slice(398, 400))


@pytest.mark.parametrize("bars", [0.0, 0.7, 1.5])
def test_agreement_is_that_of_the_picture(bars):
    """Whatever the map shows on the bars, its figures are those without them; but a peak there is a miss."""
    values, mask = wide()
    rng = np.random.default_rng(1)
    target, mean = rng.random((10, 10)), rng.random((10, 10))
    small = rng.random((10, 10))
    small[:3] = small[7:] = bars
    found = agree(small, padded(values, bars), target, padded(mask), mean_target=mean, picture=WIDE)
    assert found["lesion_pixels"] == mask.sum()
    assert found["lesion_enrichment"] == pytest.approx(lesion_enrichment(values, mask))
    assert found["relevance_rank"] == pytest.approx(relevance_rank(values, mask))
    assert found["auroc"] == pytest.approx(auroc(values, mask))
    assert found["squared_error"] == pytest.approx(squared_error(small[3:7], target[3:7]))
    assert found["zero_map_squared_error"] == pytest.approx((target[3:7] ** 2).mean())
    assert found["mean_map_squared_error"] == pytest.approx(((mean - target)[3:7] ** 2).mean())
    values[15, 40] = 1.0
    pointing = agree(small, padded(values, bars), target, padded(mask), mean_target=mean, picture=WIDE)["pointing_game"]
    # The lesion lies 10 pixels below a bar, of whose 27,200 pixels some are near enough to count.
    assert pointing == (1 if bars < 1 else pytest.approx(0, abs=0.02))
    none = agree(small, padded(values, bars), target, padded(mask) & False, mean_target=mean, picture=WIDE)
    assert none["healthy_squared_error"] == pytest.approx((small[3:7] ** 2).mean())


def test_a_map_of_the_bars_knows_nothing():
    """Bright in the picture and dark on the bars is chance, and dead: constant where there is something to see."""
    _, mask = wide()
    small = np.zeros((10, 10))
    small[CELLS] = 0.5
    found = agree(small, padded(np.full((64, 200), 0.5)), small, padded(mask), mean_target=small, picture=WIDE)
    assert (found["dead"], found["lesion_enrichment"], found["auroc"]) == (True, pytest.approx(1), 0.5)
    assert found["relevance_rank"] == pytest.approx(mask.mean())
    seen = agree(small, padded(np.full((64, 200), 0.5)), small, padded(mask), mean_target=small)
    assert seen["lesion_enrichment"] == pytest.approx(SIDE / 64), "what counting the bars would make of it"


def test_a_target_of_another_grid_is_refused():
    """A target larger than the map is not cut down to it."""
    values, mask = wide()
    with pytest.raises(ValueError, match="differ in shape"):
        agree(np.ones((10, 10)), padded(values), np.ones((12, 12)), padded(mask), mean_target=np.ones((10, 10)))


@pytest.mark.parametrize("bars", [0.0, 9.0])
def test_the_budget_is_that_of_the_picture(bars):
    """The brightest 5 % of the picture are lit, 640 pixels of 12,800, whatever is on the bars."""
    values, mask = wide()
    lesions = find_lesions({"lesion": padded(mask)}, WIDE)
    lit = light(values, 640)
    assert lesions.areas.tolist() == [200, 60]
    np.testing.assert_allclose(
        lesion_light(padded(values, bars), lesions), [lit[10:20, 30:50].mean(), lit[40:60, 150:153].mean()]
    )
    assert lesions.chance == BUDGET
    np.testing.assert_allclose(lesion_light(padded(np.ones((64, 200)), bars), lesions), BUDGET)
    assert lesions.sizes == find_lesions({"lesion": padded(mask)}).sizes, "sizes are shares of the square's side"


def brightness(images):
    """Class 0's probability rises with the picture's first columns; nothing on the bars matters."""
    p = images[..., WIDE[0], :60].mean((1, 2, 3)).sigmoid()
    return torch.stack([p, 1 - p], dim=1)


@pytest.mark.parametrize("bars", [-5.0, 5.0])
@pytest.mark.parametrize("patch", [1, 10])
@pytest.mark.parametrize("insertion", ["blur", "mean", "grey"])
def test_steps_are_those_of_the_picture(bars, patch, insertion):
    """Curves are those of the photograph without bars, by a plain loop; no row that is asked changes a bar."""
    values, _ = wide()
    picture_1CHW = torch.randn(1, 3, 64, 200, generator=torch.Generator().manual_seed(0)) + 0.5
    image = torch.full((1, 3, SIDE, SIDE), -2.0)
    image[..., *WIDE] = picture_1CHW
    asked = []

    def scores(images):
        asked.append(images.clone())
        return brightness(images)

    maps = {"map": padded(values, bars)[None]}
    procedure = Procedure(n_steps=8, patch=patch, insertion=insertion)
    found = compare_orders(scores, image, maps, procedure, pictures=[WIDE])["map"]

    corners = [(top, left) for top in range(0, 64, patch) for left in range(0, 200, patch)]
    squares = [(..., slice(top, top + patch), slice(left, left + patch)) for top, left in corners]
    order = sorted(range(len(squares)), key=lambda at: -values[squares[at]].mean())
    chosen = int(brightness(image)[0].argmax())

    def curve(before, after):
        now, probabilities, begin = before.clone(), [], 0
        for step in range(9):
            end = round(step / 8 * len(order))
            for at in order[begin:end]:
                now[squares[at]] = after[squares[at]]
            begin = end
            square = image.clone()
            square[..., *WIDE] = now
            probabilities.append(float(brightness(square)[0, chosen]))
        return probabilities

    assert found.shares.tolist() == [step / 8 for step in range(9)]
    np.testing.assert_allclose(found.deletion_curves[0], curve(picture_1CHW, torch.zeros_like(picture_1CHW)), atol=1e-5)
    wanted = curve(substituted(picture_1CHW, insertion), picture_1CHW)
    np.testing.assert_allclose(found.insertion_curves[0], wanted, atol=1e-5)
    assert found.insertion[0] == pytest.approx(area_under_curve(np.array(wanted)), abs=1e-5)
    rows = torch.cat(asked)
    assert len(rows) == 2 + 2 * 7 + (insertion != "grey")
    assert bool((rows[:, :, :68] == -2).all())
    assert bool((rows[:, :, 132:] == -2).all())


def test_pictures_of_any_shape_share_their_steps():
    """Photographs beside bars and whole ones are measured at the same shares, so that their curves can be averaged."""
    generator = torch.Generator().manual_seed(0)
    images, maps = torch.rand(3, 3, 10, 10, generator=generator), {"map": torch.rand(3, 10, 10, generator=generator)}
    pictures = [WHOLE, (slice(2, 5), slice(0, 10)), (slice(0, 10), slice(9, 10))]

    def scores(rows):
        p = rows.mean((1, 2, 3)).clamp(0, 1)
        return torch.stack([p, 1 - p], dim=1)

    found = compare_orders(scores, images, maps, Procedure(n_steps=7), pictures=pictures)["map"]
    assert found.deletion_curves.shape == (3, len(found.shares))
    assert found.shares[-1] == 1
    alone = compare_orders(scores, images[:1], {"map": maps["map"][:1]}, Procedure(n_steps=7))["map"]
    np.testing.assert_array_equal(found.deletion_curves[:1], alone.deletion_curves)
    with pytest.raises(ValueError, match="1 pictures for 3 images"):
        compare_orders(scores, images, maps, pictures=[WHOLE])


def test_order_by_hand():
    """Only the picture's pixels are ordered, by their place in the square."""
    values = torch.tensor([[9.0, 9.0, 9.0], [1.0, 3.0, 2.0], [9.0, 9.0, 9.0]])
    order, cuts = pixel_order(values, 1, [0, 0.5, 1], (slice(1, 2), slice(0, 3)))
    assert (order.tolist(), cuts) == ([4, 5, 3], [0, 2, 3])
