"""The household that ships with the project: an input made for `thresher demo`, on real prices."""
