//! The CAM family: what each method is, and its map.
