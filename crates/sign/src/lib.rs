//! The one signing pipeline: inspect, gate, assemble, log, sign.
