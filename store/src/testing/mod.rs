//! What tests of stores and of jobs over stores share.

#[cfg(feature = "sftp")]
mod at_sftp;
pub mod conformance;
mod faulty;
mod pair;
mod recorder;

#[cfg(feature = "sftp")]
pub use at_sftp::by_program;
pub use faulty::{Fault, Faulty};
pub use pair::Pair;
pub use recorder::{Call, Recorder};

pub use crate::remote::memory::far_memory;
