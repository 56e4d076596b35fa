"""Images in, labels out, models in and out, preferences; every write is atomic."""
