"""What every other package builds on: arrays, images, classes, files, options, runs."""
