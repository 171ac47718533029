//! A tar as the steps into an archive.
//!
//! ```text
//! file, or stream -(unpacked into a file without a name)-> source
//! source -(headers, records, maps)-> members -(last one wins, links resolved)-> tree -> steps
//! ```
//! ```no_run
//! use cairn::archive::tar_input::{self, Options, Source};
//!
//! # fn main() -> cairn::Result<()> {
//! let source = Source::open("tree.tar.zst".as_ref())?;
//! let options = Options { features: 0xb000_0001_ffef_fe26, is_root_added: false };
//! for step in tar_input::steps(&source, &options)? {
//!     println!("{:?}", step?);
//! }
//! # Ok(())
//! # }
//! ```
//! Members may come in any order: the tree is put together before its first step is taken, one record for each
//! member, while their bytes stay where they are. What tar does is done here: the last member of a name is the one,
//! leading slashes are dropped. What would lose something is refused: `..` in names, links that lead nowhere, members
//! of unknown kinds, a tar without an end. A directory that is used but does not come gets mode 0755, time 0 and
//! owner 0.
//!
//! The root is the member `.`; if there is none, it is the only directory at the top, whose name is lost. Of several
//! an archive can only be made with a root that is added.

mod blocks;
mod fields;
mod members;
mod source;
mod steps;
mod tree;

use members::Members;
use tree::Tree;

use crate::Result;

pub use source::Source;
pub use steps::Steps;

/// How a tar is to be read.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The feature word of the archive: what is kept of the members.
    pub features: u64,
    /// Whether what is at the top gets a root around it, with mode 0755 and time 0. It is not needed if there is a
    /// member `.`, which is the root then.
    pub is_root_added: bool,
}

/// The steps of a tar into an archive.
pub fn steps(source: &Source, options: &Options) -> Result<Steps> {
    let mut tree = Tree::default();
    for member in Members::new(source, options.features) {
        let member = member?;
        tree.add(member).map_err(|why| source.bad(why))?;
    }
    let root = tree.finish(options.is_root_added).map_err(|why| source.bad(why))?;
    Ok(Steps::new(tree, root, source, options.features))
}
