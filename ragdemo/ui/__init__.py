"""The page: it knows events and pictures, never a model library."""
