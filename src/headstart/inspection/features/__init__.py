"""Features: maps, embeddings, similarity, class separation."""
