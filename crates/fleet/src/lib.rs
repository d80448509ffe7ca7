//! Devices, releases and rollouts; planning is pure.
