//! Stores made of stores.

mod cache;
mod router;

pub use cache::Cache;
pub use router::Router;
