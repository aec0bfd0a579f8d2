"""Reference images: what a library on disk is, how one is made, embedded and searched."""
