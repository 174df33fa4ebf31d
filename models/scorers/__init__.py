"""The scorers: one file each, every one an implementation of `models.scorer.Scorer`."""
