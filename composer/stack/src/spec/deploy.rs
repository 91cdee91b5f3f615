//! `deploy`.
