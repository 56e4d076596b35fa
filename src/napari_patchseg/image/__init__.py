"""From an array to pixels, and from confidence to objects."""
