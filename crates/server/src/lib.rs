//! The server: one binary that signs, keeps and delivers.
