"""RealRAG (arXiv 2502.00848): a retriever that prefers what the generator would not draw by itself.

`loss` is the paper's objective, `head` the residual head on frozen image features, `mining` finds the self-reflective
negatives, `training` trains the heads, `retrievers` are Zero, Normal and Real with their indexes, `flow` the method.
"""
