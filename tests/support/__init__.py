"""What several test files share: toy models and texts, and readers of documents."""
