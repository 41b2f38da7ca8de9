"""Content-addressed state: blobs, layers, image layouts, and the database of facts about them."""
