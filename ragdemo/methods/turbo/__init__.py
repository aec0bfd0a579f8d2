"""ImageRAGTurbo (arXiv 2602.12640): one step, blended in the UNet's deepest features with a retrieved pair."""
