//! A store behind ssh.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use cairn_formats::chunker::LARGEST_CHUNK;
use cairn_formats::coding::Decoder;
use cairn_formats::{ChunkId, CodedChunk, Digest, Error as FormatError, Form, WriteCoding};

use super::address::{Address, Programs};
use super::patient::Patience;
use super::pool::Pool;
use super::pull::PullSession;
use super::push::PushSession;
use crate::{Again, Durability, Error, Location, Result, Store, StoreOptions, WriteStore};

/// Where the other side writes an index that is never finished, but for a random number.
const UNFINISHED: &str = "/tmp/.cairn-";

/// A store behind ssh. Nothing is started before it is needed.
pub struct SshStore {
    address: Address,
    programs: Programs,
    form: Form,
    skip_verify: bool,
    patience: Patience,
    pulls: Pool<PullSession>,
    /// Nothing in a store that is only read.
    pushes: Option<Pool<PushSession>>,
    /// With what the ids of the chunks put here are made, once there was one.
    digest: OnceLock<Digest>,
    /// Whether somebody has been asked to put something there.
    is_there: OnceLock<()>,
}

impl SshStore {
    /// A store to read from.
    pub fn open(location: &Location, options: &StoreOptions) -> Result<Self> {
        let address = Address::of(location)?;
        let refuse = |why: &str| {
            Err(Error::Unsupported { place: address.place.clone(), why: why.to_owned() })
        };
        if options.form.is_sealed() {
            return refuse("encryption is not supported by casync protocol (ssh://) stores");
        }
        Ok(Self {
            programs: Programs::default(),
            form: options.form.clone(),
            skip_verify: options.skip_verify,
            patience: Patience {
                silence: options.remote.timeout,
                stop: options.remote.stop.clone(),
            },
            pulls: Pool::new(options.remote.connections),
            pushes: None,
            digest: OnceLock::new(),
            is_there: OnceLock::new(),
            address,
        })
    }

    /// A store to write to, too. The other side decides what it keeps the chunks in.
    pub fn open_writable(location: &Location, options: &StoreOptions) -> Result<Self> {
        let store = Self::open(location, options)?;
        if options.durability != Durability::None {
            let why =
                "casync's protocol cannot ask for durability; only `none` is possible".to_owned();
            return Err(Error::Unsupported { place: store.name(), why });
        }
        Ok(Self { pushes: Some(Pool::new(options.remote.connections)), ..store })
    }

    /// The same store, reached with these programs instead of those that the environment names.
    pub fn with_programs(self, programs: Programs) -> Self {
        Self { programs, ..self }
    }

    /// Sees to it that a store that may be written to is there before it is read: whoever keeps it makes
    /// it when something is to be put there.
    fn make_sure_of_it(&self) -> Result<()> {
        if let Some(pool) = &self.pushes
            && self.is_there.get().is_none()
        {
            self.push(pool, |session| session.has_many(&[]).map(drop))?;
        }
        Ok(())
    }

    /// Fetches distinct chunks in one session. Calls `each` once for every id.
    fn pull(&self, ids: &[ChunkId], mut each: impl FnMut(ChunkId, Result<Option<CodedChunk>>)) {
        let start = || {
            let command = self.address.command(&self.programs, "pull", "-");
            PullSession::start(command, &self.address.place, &self.patience)
        };
        let mut rest: Vec<ChunkId> = Vec::new();
        let session = self
            .make_sure_of_it()
            .and_then(|()| self.pulls.take(|session| session.fits(ids), start));
        let failure = match session {
            Err(e) => {
                rest.extend(ids);
                Some(e)
            }
            Ok(mut session) => {
                let mut told = HashSet::with_capacity(ids.len());
                let fetched = session.fetch(ids, |id, answer| {
                    told.insert(id);
                    each(id, answer.map(|chunk| chunk.map(|chunk| self.trusted(chunk))));
                });
                match fetched {
                    Ok(()) => {
                        session.done();
                        None
                    }
                    Err(e) => {
                        rest.extend(ids.iter().filter(|id| !told.contains(id)));
                        Some(e)
                    }
                }
            }
        };
        let Some(failure) = failure else { return };
        let failure = Arc::new(failure);
        for id in rest {
            each(id, Err(Error::Joined(Arc::clone(&failure))));
        }
    }

    fn trusted(&self, chunk: CodedChunk) -> CodedChunk {
        if self.skip_verify { chunk.trusted() } else { chunk }
    }

    /// Does something in a session that brings chunks.
    fn push<R>(
        &self,
        pool: &Pool<PushSession>,
        work: impl FnOnce(&mut PushSession) -> Result<R>,
    ) -> Result<R> {
        let digest = self.digest.get().copied().unwrap_or_default();
        let mut session = pool.take(
            |session| session.fits(digest),
            || {
                let number = getrandom::u64().map_err(|e| Error::Unreachable {
                    place: self.name(),
                    why: format!("no random numbers: {e}"),
                    again: Again::No,
                })?;
                let index = format!("{UNFINISHED}{number:016x}.caibx");
                let command = self.address.command(&self.programs, "push", &index);
                PushSession::start(command, &self.address.place, digest, &self.patience)
            },
        )?;
        let done = work(&mut session)?;
        self.is_there.get_or_init(|| ());
        session.done();
        Ok(done)
    }

    /// Finds out with what the ids are made: the other side may verify what it gets.
    fn learn_digest(&self, chunk: &CodedChunk) -> Result<()> {
        if self.digest.get().is_some() {
            return Ok(());
        }
        let plain = Decoder::new().decode(chunk, LARGEST_CHUNK);
        let plain = plain.map_err(Error::invalid(self.name()))?;
        let names =
            [Digest::Sha512_256, Digest::Sha256].map(|digest| (digest, digest.hash(&plain)));
        match names.iter().find(|(_, name)| *name == chunk.id()) {
            Some((digest, _)) => {
                self.digest.get_or_init(|| *digest);
                Ok(())
            }
            None => {
                let (id, actual) = (chunk.id(), names[0].1);
                Err(Error::invalid(self.name())(FormatError::WrongId { id, actual }))
            }
        }
    }

    fn put_all(&self, chunks: &[&CodedChunk]) -> Result<()> {
        let Some(pool) = &self.pushes else {
            let why = "the store was opened for reading".to_owned();
            return Err(Error::Unsupported { place: self.name(), why });
        };
        let Some(first) = chunks.first() else { return Ok(()) };
        self.learn_digest(first)?;
        self.push(pool, |session| session.put(chunks))
    }
}

impl Store for SshStore {
    fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
        let mut outcome = Ok(None);
        self.pull(std::slice::from_ref(id), |_, answer| outcome = answer);
        outcome
    }

    fn get_many(&self, ids: &[ChunkId], each: &mut dyn FnMut(usize, Result<Option<CodedChunk>>)) {
        // The same id may stand there more than once, but is asked for once.
        let mut places: HashMap<ChunkId, Vec<usize>> = HashMap::with_capacity(ids.len());
        let mut distinct = Vec::with_capacity(ids.len());
        for (place, id) in ids.iter().enumerate() {
            let places = places.entry(*id).or_default();
            if places.is_empty() {
                distinct.push(*id);
            }
            places.push(place);
        }
        self.pull(&distinct, |id, answer| {
            let Some((last, others)) = places.get(&id).and_then(|places| places.split_last())
            else {
                return;
            };
            let answer = match (others, answer) {
                ([], answer) => answer,
                (_, Ok(chunk)) => {
                    others.iter().for_each(|&place| each(place, Ok(chunk.clone())));
                    Ok(chunk)
                }
                (_, Err(e)) => {
                    let error = Arc::new(e);
                    let copy = || Err(Error::Joined(Arc::clone(&error)));
                    others.iter().for_each(|&place| each(place, copy()));
                    copy()
                }
            };
            each(*last, answer);
        });
    }

    fn has(&self, id: &ChunkId) -> Result<bool> {
        match self.has_many(std::slice::from_ref(id)).pop() {
            Some(answer) => answer,
            None => Ok(false),
        }
    }

    /// Whoever may write is told without a chunk being sent. Else there is no other way than to fetch
    /// them.
    fn has_many(&self, ids: &[ChunkId]) -> Vec<Result<bool>> {
        if let Some(pool) = &self.pushes {
            return match self.push(pool, |session| session.has_many(ids)) {
                Ok(there) => there.into_iter().map(Ok).collect(),
                Err(e) => joined(e, ids.len()),
            };
        }
        let mut answers: Vec<Result<bool>> = ids.iter().map(|_| Ok(false)).collect();
        self.get_many(ids, &mut |place, answer| {
            answers[place] = match answer {
                Ok(chunk) => Ok(chunk.is_some()),
                // It is there, and whoever reads it will see what it is.
                Err(e) if e.is_damage() => Ok(true),
                Err(e) => Err(e),
            };
        });
        answers
    }

    fn in_flight(&self) -> usize {
        self.pulls.limit()
    }

    fn name(&self) -> String {
        self.address.place.clone()
    }
}

impl WriteStore for SshStore {
    fn put(&self, chunk: &CodedChunk) -> Result<()> {
        self.put_all(&[chunk])
    }

    /// All in one session, which is told of as one.
    fn put_many(&self, chunks: &[CodedChunk]) -> Vec<Result<()>> {
        let all: Vec<&CodedChunk> = chunks.iter().collect();
        match self.put_all(&all) {
            Ok(()) => chunks.iter().map(|_| Ok(())).collect(),
            Err(e) => joined(e, chunks.len()),
        }
    }

    fn coding(&self) -> WriteCoding {
        self.form.coding()
    }

    /// Nothing is left to do: what was put has been acknowledged.
    fn sync(&self) -> Result<()> {
        Ok(())
    }
}

/// One error as the outcome of many.
fn joined<T>(error: Error, times: usize) -> Vec<Result<T>> {
    let error = Arc::new(error);
    (0..times).map(|_| Err(Error::Joined(Arc::clone(&error)))).collect()
}
