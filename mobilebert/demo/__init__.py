"""A local web page to ask models: what runs them and what serves them; the page itself is in ``web``."""
