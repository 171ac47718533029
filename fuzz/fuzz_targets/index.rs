//! An index that is read is, written again, the same bytes; and its ids come as well while it is still on its way.

#![no_main]

use cairn_formats::{Index, IndexStream};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut stream = IndexStream::default();
    let mut ids = Vec::new();
    let are_fed = bytes.chunks(37).all(|piece| stream.feed(piece, |id| ids.push(id)).is_ok());
    let Ok(index) = Index::read(bytes) else { return };
    let mut again = Vec::new();
    index.write(&mut again).expect("a vector takes what it is given");
    assert!(again == bytes, "another index when written again");
    assert!(are_fed && index.chunks().map(|chunk| chunk.id).eq(ids));
    let mut end = 0;
    for chunk in index.chunks() {
        assert!(chunk.start == end && chunk.len > 0);
        end = chunk.end();
    }
    assert_eq!(end, index.blob_size());
});
