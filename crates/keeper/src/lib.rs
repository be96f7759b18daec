//! layerkeeper-keeper
