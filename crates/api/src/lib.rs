//! HTTP types per group, OpenAPI, and the typed client.
