"""What the paper measured on IDRiD, each number with its place. It gives no intervals, and one run each.

Figures 5 and 7 are pictures; the text gives no kappa, so none stands beside ours.
"""

from __future__ import annotations

# Table 2: (deletion, insertion).
TABLE_2: dict[tuple[str, str], tuple[float, float]] = {
    ("grad-cam", "alexnet"): (0.3058, 0.6201),
    ("grad-cam", "resnet18"): (0.2958, 0.7085),
    ("grad-cam", "resnet34"): (0.2854, 0.7465),
    ("abn", "alexnet"): (0.4201, 0.6028),
    ("abn", "resnet18"): (0.3900, 0.6878),
    ("abn", "resnet34"): (0.3844, 0.6524),
    ("proposed", "alexnet"): (0.2732, 0.8704),
    ("proposed", "resnet18"): (0.2978, 0.8832),
    ("proposed", "resnet34"): (0.3102, 0.8923),
}

# Table 3: mean squared error between map and lesion segmentation.
TABLE_3: dict[tuple[str, str], float] = {
    ("grad-cam", "alexnet"): 0.1873,
    ("grad-cam", "resnet18"): 0.1521,
    ("grad-cam", "resnet34"): 0.1329,
    ("abn", "alexnet"): 0.1193,
    ("abn", "resnet18"): 0.1241,
    ("abn", "resnet34"): 0.1309,
    ("proposed", "alexnet"): 0.0873,
    ("proposed", "resnet18"): 0.0893,
    ("proposed", "resnet34"): 0.0927,
}

# Section 3.3: grading gains come at this share with either order; attention gains at these.
GRADING_SHARE = 0.3
ATTENTION_SHARE = {"map-error": 0.3, "confidence": 0.7}
