//! ONNX bytes to a [`Network`](crate::network::Network).
