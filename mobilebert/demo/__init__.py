"""A local web page to ask models: what runs them, what serves them, and the page itself (page.html, .css, .js)."""
