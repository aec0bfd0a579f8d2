"""Foreign models, adapted at the edge: each file wraps one library behind one small interface."""
