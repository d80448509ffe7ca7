//! Firmware formats: a file and a row each.
