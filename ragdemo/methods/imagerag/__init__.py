"""ImageRAG (arXiv 2502.09411): a vision-language model decides what to retrieve for a text-to-image model.

`dialogue` holds the questions and reads the replies, `settings` the options, `interview` asks with retries, `flow` is
the method.
"""
