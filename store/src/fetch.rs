//! Chunks out of a store, decoded and verified: the only way from a store to plain bytes.
//!
//! ```text
//! get many -> decode -> verify all at once -> chunks
//!               ^           |
//!               +- another -+ damaged
//! ```
//! Whoever needs plain bytes comes here, so what is to be done about a damaged copy, and about a
//! cache that wants to keep what has been verified, is said once.

use cairn_formats::coding::Decoder;
use cairn_formats::{Chunk, ChunkId, CodedChunk, Digest, Error as FormatError, IndexChunk};

use crate::{Error, Result, Store};

/// Fetches chunks. One per worker: it keeps a decoder.
#[derive(Default)]
pub struct Fetcher {
    decoder: Decoder,
}

impl Fetcher {
    /// A fetcher with a decoder of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// Fetches chunks of an index into `plain`, one behind the other; it must be as long as they are
    /// together. Calls `then` with them, verified and in their order.
    ///
    /// Several chunks at once fill the lanes of the hash kernel: a MiB or more is a good batch.
    /// A copy that turns out damaged is replaced by that of another store, as long as there are any;
    /// if there is none, the error is about the first.
    pub fn fetch<R>(
        &mut self,
        store: &dyn Store,
        digest: Digest,
        chunks: &[IndexChunk],
        plain: &mut [u8],
        then: impl FnOnce(&[Chunk<'_>]) -> R,
    ) -> Result<R> {
        let mut rest = plain;
        let parts = chunks.iter().map(|chunk| {
            let (part, behind) = std::mem::take(&mut rest).split_at_mut(chunk.len);
            rest = behind;
            part
        });
        self.fetch_apart(store, digest, chunks, &mut parts.collect::<Vec<_>>(), then)
    }

    /// The same, with a place for each chunk, as long as it is.
    pub fn fetch_apart<R>(
        &mut self,
        store: &dyn Store,
        digest: Digest,
        chunks: &[IndexChunk],
        plain: &mut [&mut [u8]],
        then: impl FnOnce(&[Chunk<'_>]) -> R,
    ) -> Result<R> {
        let mut wanted = Wanted::list(chunks);
        self.fetch_all(store, &mut wanted, plain)?;
        loop {
            for (wanted, plain) in wanted.iter_mut().zip(&mut *plain) {
                wanted.fetch_another(store, &mut self.decoder, plain)?;
            }
            let mut good = Vec::with_capacity(wanted.len());
            let outcomes = verify(digest, &wanted, plain);
            for (wanted, outcome) in wanted.iter_mut().zip(outcomes) {
                match outcome {
                    Ok(chunk) => good.push(chunk),
                    Err(e) => wanted.refuse(store, e),
                }
            }
            if good.len() < wanted.len() {
                continue;
            }
            for (wanted, chunk) in wanted.iter().zip(&good) {
                if let Some(coded) = &wanted.coded {
                    store.keep(chunk, coded)?;
                }
            }
            return Ok(then(&good));
        }
    }

    /// Fetches and decodes the first copy of each chunk. What is damaged is marked as not here.
    fn fetch_all(
        &mut self,
        store: &dyn Store,
        wanted: &mut [Wanted],
        plain: &mut [&mut [u8]],
    ) -> Result<()> {
        let ids: Vec<ChunkId> = wanted.iter().map(|wanted| wanted.chunk.id).collect();
        let mut failure = None;
        store.get_many(&ids, &mut |place, answer| {
            // After a failure the rest is of no use.
            if failure.is_none() {
                let wanted = &mut wanted[place];
                failure = wanted.take(store, answer, &mut self.decoder, plain[place]).err();
            }
        });
        failure.map_or(Ok(()), Err)
    }
}

/// Hashes all chunks but those that are trusted. The outcomes are in their order.
fn verify<'b>(
    digest: Digest,
    wanted: &[Wanted],
    plain: &'b [&mut [u8]],
) -> Vec<std::result::Result<Chunk<'b>, FormatError>> {
    let both = || wanted.iter().zip(plain.iter().map(|plain| &**plain));
    let trusted =
        both().map(|(wanted, plain)| Some(Ok(Chunk::trust(wanted.coded.as_ref()?, plain)?)));
    let mut outcomes: Vec<_> = trusted.collect();
    let claims: Vec<(ChunkId, &[u8])> = both()
        .zip(&outcomes)
        .filter(|(_, outcome)| outcome.is_none())
        .map(|((wanted, plain), _)| (wanted.chunk.id, plain))
        .collect();
    let mut checked = Chunk::verify_many(digest, &claims).into_iter();
    let outcomes = outcomes.drain(..).map(|outcome| outcome.or_else(|| checked.next()));
    outcomes.map(|outcome| outcome.expect("every claim has been checked")).collect()
}

/// A chunk on its way.
struct Wanted {
    chunk: IndexChunk,
    /// Copies asked for so far.
    copies: usize,
    /// Whether the last of them has been decoded.
    is_here: bool,
    /// That copy, if it is trusted or somebody wants to keep it.
    coded: Option<CodedChunk>,
    /// What was wrong with the first.
    error: Option<Error>,
}

impl Wanted {
    fn list(chunks: &[IndexChunk]) -> Vec<Self> {
        let wanted = |chunk: &IndexChunk| Self {
            chunk: *chunk,
            copies: 0,
            is_here: false,
            coded: None,
            error: None,
        };
        chunks.iter().map(wanted).collect()
    }

    /// Decodes the first copy, if it can be decoded.
    fn take(
        &mut self,
        store: &dyn Store,
        answer: Result<Option<CodedChunk>>,
        decoder: &mut Decoder,
        plain: &mut [u8],
    ) -> Result<()> {
        self.copies = 1;
        match answer {
            Ok(Some(coded)) => self.decode(store, coded, decoder, plain),
            Ok(None) => return Err(Error::Missing { id: self.chunk.id, store: store.name() }),
            Err(e) if e.is_damage() => {
                tracing::warn!(id = %self.chunk.id, error = %e, "chunk is damaged");
                self.error = Some(e);
            }
            Err(e) => return Err(e),
        }
        Ok(())
    }

    /// Fetches and decodes the next copy that can be decoded. If there is none, the error is about the
    /// first: what is in the first place is the thing to mend.
    fn fetch_another(
        &mut self,
        store: &dyn Store,
        decoder: &mut Decoder,
        plain: &mut [u8],
    ) -> Result<()> {
        while !self.is_here {
            let fetched = store.another(&self.chunk.id, self.copies);
            self.copies += 1;
            match fetched {
                Ok(Some(coded)) => self.decode(store, coded, decoder, plain),
                Ok(None) => return Err(self.error.take().expect("a copy was refused before")),
                Err(e) => return Err(self.error.take().unwrap_or(e)),
            }
        }
        Ok(())
    }

    fn decode(
        &mut self,
        store: &dyn Store,
        coded: CodedChunk,
        decoder: &mut Decoder,
        plain: &mut [u8],
    ) {
        match decoder.decode_exact(&coded, plain) {
            Ok(()) => {
                self.is_here = true;
                self.coded = Some(coded).filter(|c| c.is_trusted() || store.keeps());
            }
            Err(e) => self.refuse(store, e),
        }
    }

    fn refuse(&mut self, store: &dyn Store, source: FormatError) {
        self.is_here = false;
        let (at, copy) = (self.chunk.start, self.copies - 1);
        let store = store.origin(&self.chunk.id, copy);
        tracing::warn!(id = %self.chunk.id, at, store, error = %source, "chunk is damaged");
        self.error.get_or_insert(Error::Chunk { store, at, source });
    }
}
