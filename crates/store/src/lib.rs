//! layerkeeper-store
