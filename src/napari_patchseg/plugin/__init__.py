"""napari and Qt, and nothing else of the package knows them."""
