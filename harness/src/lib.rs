//! The harness: generate → boot → capture → compare → report, a module a stage.

mod cache;
pub mod failure;
pub mod generate;
pub mod kernels;
pub mod model;
pub mod oracle;
pub mod verdict;
