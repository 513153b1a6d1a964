"""Corrections in the formats of other tools: PNG masks, COCO, YOLO, Label Studio, CVAT."""
