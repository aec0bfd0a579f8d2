"""The pocket universe: a world that draws itself, and the training of small real models on it."""
