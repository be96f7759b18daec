//! layerkeeper-engine
