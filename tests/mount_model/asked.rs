//! What is asked of a tree, and what is said.

use std::collections::BTreeMap;
use std::panic::resume_unwind;

use proptest::prelude::*;
use rustix::io::Errno;

/// Longest part of a file that is read at once.
const LONGEST: usize = 300_000;

/// Something that is asked. Numbers stand for anything: they are brought into range by what there is.
#[derive(Clone, Debug)]
pub enum Question {
    /// What `lstat` says.
    Attributes,
    /// What `stat` says, which follows links.
    Behind,
    /// Bytes from a place on, through several handles.
    Read { at: u32, len: usize },
    /// Bytes as memory that the file is mapped to.
    Mapped { at: u32, len: usize },
    /// Names, with so much room at once, and from one of them on again.
    List { room: usize, from: usize },
    /// Where it leads.
    Link,
    /// All extended attributes.
    Xattrs,
    /// One that is not there.
    NoXattr,
    /// A name that is not there.
    NoName(Vec<u8>),
    /// Whether somebody may read or execute it, in the bits that have these permissions for others.
    May { uid: u32, gid: u32, access: u8 },
    /// Whether it can be changed, in one way or another.
    Change(u8),
}

/// A question of one of the nodes there are.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Which of them, modulo how many there are.
    pub node: usize,
    pub question: Question,
}

/// What is said.
pub type Said = Result<Answer, Errno>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Attributes(Seen),
    Bytes(Vec<u8>),
    Names(Vec<(Vec<u8>, u32)>),
    Xattrs(BTreeMap<Vec<u8>, Vec<u8>>),
    /// It may, or it has been done.
    Yes,
}

/// What is the same of a node wherever it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Kind and permissions.
    pub mode: u32,
    pub owner: (u32, u32),
    /// Of files and links.
    pub size: Option<u64>,
    /// In nanoseconds since 1970.
    pub mtime: i64,
    pub device: (u32, u32),
}

/// Something that can be asked.
pub trait Tree: Sync {
    /// The answer of the node at a path, which is empty for the root; none if it is not for this tree to say.
    fn ask(&self, path: &[u8], question: &Question) -> Option<Said>;
}

fn question() -> impl Strategy<Value = Question> {
    let read = || (any::<u32>(), prop_oneof![0..5000_usize, 0..LONGEST]);
    prop_oneof![
        2 => Just(Question::Attributes),
        1 => Just(Question::Behind),
        8 => read().prop_map(|(at, len)| Question::Read { at, len }),
        2 => read().prop_map(|(at, len)| Question::Mapped { at, len }),
        2 => (0..2000_usize, any::<usize>()).prop_map(|(room, from)| Question::List { room, from }),
        1 => Just(Question::Link),
        1 => Just(Question::Xattrs),
        1 => Just(Question::NoXattr),
        1 => prop::collection::vec(1_u8.., 1..300).prop_map(Question::NoName),
        2 => (0..70_000_u32, 0..70_000_u32, prop_oneof![Just(1), Just(4), Just(5)])
            .prop_map(|(uid, gid, access)| Question::May { uid, gid, access }),
        1 => (0..16_u8).prop_map(Question::Change),
    ]
}

/// Any questions.
pub fn questions(most: usize) -> impl Strategy<Value = Vec<Asked>> {
    let asked = (any::<usize>(), question()).prop_map(|(node, question)| Asked { node, question });
    prop::collection::vec(asked, 1..most)
}

/// Has so many threads ask two trees, each some of the questions, and checks that they agree. While the second is
/// fickle, it may also say that bytes cannot be had, or stop before those that cannot.
pub fn agree(
    trees: (&dyn Tree, &dyn Tree),
    paths: &[Vec<u8>],
    asked: &[Asked],
    threads: usize,
    is_fickle: bool,
) {
    let one = |thread: usize| {
        for Asked { node, question } in asked.iter().skip(thread).step_by(threads) {
            if is_fickle && matches!(question, Question::Mapped { .. }) {
                // Bytes that cannot be had end the program.
                continue;
            }
            let path = &paths[node % paths.len()];
            let Some(said) = trees.1.ask(path, question) else { continue };
            let Some(wanted) = trees.0.ask(path, question) else { continue };
            let is_good = said == wanted || is_fickle && is_excused(question, &said, &wanted);
            let name = String::from_utf8_lossy(path);
            assert!(
                is_good,
                "`{name}` {question:?}: {} instead of {}",
                shown(&said),
                shown(&wanted)
            );
        }
    };
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..threads).map(|n| scope.spawn(move || one(n))).collect();
        for thread in asking {
            thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
    });
}

fn is_excused(question: &Question, said: &Said, wanted: &Said) -> bool {
    match (question, said, wanted) {
        (Question::Read { .. }, Err(Errno::IO), _) => true,
        (Question::Read { .. }, Ok(Answer::Bytes(said)), Ok(Answer::Bytes(wanted))) => {
            !said.is_empty() && wanted.starts_with(said)
        }
        _ => false,
    }
}

/// What is said, but not all of it.
fn shown(said: &Said) -> String {
    let mut text = format!("{said:?}");
    text.truncate(text.char_indices().nth(300).map_or(text.len(), |(at, _)| at));
    text
}
