//! layerkeeper-testkit
