//! Stores made of stores.

mod router;

pub use router::Router;
