//! layerkeeper-http
