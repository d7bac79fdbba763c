"""What a training keeps to go on from, and what is looked at before it does."""
