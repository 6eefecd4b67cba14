//! The harness: generate → boot → capture → compare → report, a module a stage.

pub mod generate;
pub mod model;
pub mod oracle;
pub mod verdict;
