//! From the user's picture to the network's input, and back: everything geometric hides behind [`Placement`].
