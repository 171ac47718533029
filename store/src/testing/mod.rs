//! What tests of stores and of jobs over stores share.

pub mod conformance;
mod faulty;
mod pair;
mod recorder;

pub use faulty::{Fault, Faulty};
pub use pair::Pair;
pub use recorder::{Call, Recorder};

pub use crate::remote::memory::far_memory;
#[cfg(feature = "sftp")]
pub use crate::sftp::by_program;
