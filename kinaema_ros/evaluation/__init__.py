"""All that measures and does not train."""
