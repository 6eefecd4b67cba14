//! The harness: generate → boot → capture → compare → report, a module a stage.

pub mod boot;
mod cache;
pub mod failure;
pub mod generate;
mod guest;
pub mod kernels;
pub mod model;
pub mod oracle;
pub mod verdict;
