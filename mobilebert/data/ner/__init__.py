"""Words with tags: names of people and places, parts of speech, and what else stands in a text."""
