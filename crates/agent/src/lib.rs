//! The Linux device agent: poll, verify, stream, switch, confirm, report.
