//! A loaded classifier: a plan of steps, run on a device up to a target layer and from it.
