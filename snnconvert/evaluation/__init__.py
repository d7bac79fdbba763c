"""How good images are, and how right a classifier is: FID, Inception Score, precision, accuracy."""
