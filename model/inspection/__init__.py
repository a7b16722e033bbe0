"""Items by text, why an item, similar items."""
