//! The heatmap over the picture: colormaps and blending.
