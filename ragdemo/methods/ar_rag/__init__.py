"""AR-RAG (Qi et al. 2025, arXiv 2506.06962): patches of real pictures, found while an autoregressive model decodes."""
