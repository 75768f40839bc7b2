"""What napari and the command line call: the window, manifest, benchmark."""
