"""ImageRAG (arXiv 2502.09411): a vision-language model decides what to retrieve for a text-to-image model.

`settings` are its options, `flow` is the method; it asks the critic through `ragdemo.methods.interview`.
"""
