//! Stores made of stores.
//!
//! ```text
//! cache     a store near by in front of one far away
//! router    several stores, asked in their order; mirrors of each other
//! retry     a store that is asked again when it fails
//! rate      a store whose bytes move no faster than so many a second
//! single    a store of which nobody asks the same twice at a time
//! swap      a store that can be exchanged while it is used
//! ```

mod cache;
mod health;
mod open;
mod rate;
mod retry;
mod router;
mod single;
mod swap;

pub use cache::Cache;
pub use rate::{Rate, RateLimited};
pub use retry::Retrying;
pub use router::Router;
pub use single::SingleFlight;
pub use swap::Swap;
