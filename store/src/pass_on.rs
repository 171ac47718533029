//! Methods of stores that are made of a store and leave most to it.
//!
//! ```ignore
//! pass_on!(self => self.store; has, has_many, name);
//! ```

/// Passes the named methods of [`Store`](crate::Store), [`WriteStore`](crate::WriteStore) and
/// [`PruneStore`](crate::PruneStore) on to another store.
macro_rules! pass_on {
    ($self:ident => $to:expr; $($method:ident),+ $(,)?) => {
        $( pass_on!(@$method $self $to); )+
    };
    (@get $self:ident $to:expr) => {
        fn get(&$self, id: &::cairn_formats::ChunkId) -> $crate::Result<Option<::cairn_formats::CodedChunk>> {
            $to.get(id)
        }
    };
    (@has $self:ident $to:expr) => {
        fn has(&$self, id: &::cairn_formats::ChunkId) -> $crate::Result<bool> {
            $to.has(id)
        }
    };
    (@get_many $self:ident $to:expr) => {
        fn get_many(
            &$self,
            ids: &[::cairn_formats::ChunkId],
            each: &mut dyn FnMut(usize, $crate::Result<Option<::cairn_formats::CodedChunk>>),
        ) {
            $to.get_many(ids, each);
        }
    };
    (@has_many $self:ident $to:expr) => {
        fn has_many(&$self, ids: &[::cairn_formats::ChunkId]) -> Vec<$crate::Result<bool>> {
            $to.has_many(ids)
        }
    };
    (@in_flight $self:ident $to:expr) => {
        fn in_flight(&$self) -> usize {
            $to.in_flight()
        }
    };
    (@another $self:ident $to:expr) => {
        fn another(&$self, id: &::cairn_formats::ChunkId, tried: usize) -> $crate::Result<Option<::cairn_formats::CodedChunk>> {
            $to.another(id, tried)
        }
    };
    (@origin $self:ident $to:expr) => {
        fn origin(&$self, id: &::cairn_formats::ChunkId, copy: usize) -> String {
            $to.origin(id, copy)
        }
    };
    (@keeps $self:ident $to:expr) => {
        fn keeps(&$self) -> bool {
            $to.keeps()
        }
    };
    (@keep $self:ident $to:expr) => {
        fn keep(&$self, chunk: &::cairn_formats::Chunk<'_>, coded: &::cairn_formats::CodedChunk) -> $crate::Result<()> {
            $to.keep(chunk, coded)
        }
    };
    (@name $self:ident $to:expr) => {
        fn name(&$self) -> String {
            $to.name()
        }
    };
    (@put $self:ident $to:expr) => {
        fn put(&$self, chunk: &::cairn_formats::CodedChunk) -> $crate::Result<()> {
            $to.put(chunk)
        }
    };
    (@put_many $self:ident $to:expr) => {
        fn put_many(&$self, chunks: &[::cairn_formats::CodedChunk]) -> Vec<$crate::Result<()>> {
            $to.put_many(chunks)
        }
    };
    (@coding $self:ident $to:expr) => {
        fn coding(&$self) -> ::cairn_formats::WriteCoding {
            $to.coding()
        }
    };
    (@sync $self:ident $to:expr) => {
        fn sync(&$self) -> $crate::Result<()> {
            $to.sync()
        }
    };
    (@list $self:ident $to:expr) => {
        fn list(&$self, each: &mut dyn FnMut($crate::Stored, Option<$crate::Facts>) -> $crate::Result<()>) -> $crate::Result<()> {
            $to.list(each)
        }
    };
    (@facts $self:ident $to:expr) => {
        fn facts(&$self, found: &$crate::Stored) -> $crate::Result<Option<$crate::Facts>> {
            $to.facts(found)
        }
    };
    (@facts_many $self:ident $to:expr) => {
        fn facts_many(&$self, found: &[$crate::Stored]) -> Vec<$crate::Result<Option<$crate::Facts>>> {
            $to.facts_many(found)
        }
    };
    (@is_dated $self:ident $to:expr) => {
        fn is_dated(&$self) -> bool {
            $to.is_dated()
        }
    };
    (@remove $self:ident $to:expr) => {
        fn remove(&$self, found: &$crate::Stored) -> $crate::Result<()> {
            $to.remove(found)
        }
    };
    (@remove_many $self:ident $to:expr) => {
        fn remove_many(&$self, found: &[$crate::Stored]) -> Vec<$crate::Result<()>> {
            $to.remove_many(found)
        }
    };
}

pub(crate) use pass_on;
