//! End-to-end tests; see the test targets beside this file.
