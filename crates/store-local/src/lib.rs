//! SQLite, a content-addressed blob directory and a one-file intent log.
