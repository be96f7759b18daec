//! layerkeeper-registry
