"""Training data: face clips on disk -> one compact file per clip -> augmented samples. No torch in here."""
