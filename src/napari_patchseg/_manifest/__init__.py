"""Holds the plugin's manifest, where its entry point finds it (see `napari_patchseg.__init__`)."""
