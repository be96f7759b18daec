//! layerkeeper

fn main() {}
