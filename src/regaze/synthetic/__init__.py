"""The painter of synthetic fundus photographs with exact lesion masks."""
