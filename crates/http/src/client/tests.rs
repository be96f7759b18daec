//! Against real listeners.
