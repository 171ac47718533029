//! Encrypted chunks that desync made are read, in all forms.
#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

use std::fs;
use std::path::Path;

use cairn_formats::coding::Decoder;
use cairn_formats::seal::{Cipher, Key};
use cairn_formats::{ChunkId, Digest, Form};

const ID: &str = "95773aaa5a8fac6288a47d3bae12157b9bbe85061e7a22e898ec7722e1958833";

#[test]
fn sealed_chunks_of_desync_are_read() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/sealed");
    let mut plain = b"a sealed chunk that is compressed, ".repeat(8);
    plain.truncate(256);
    let id: ChunkId = ID.parse().unwrap();
    let files = fs::read_dir(&directory).unwrap();
    let mut unread: Vec<String> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    for cipher in [Cipher::XChaCha20Poly1305, Cipher::Aes256Gcm] {
        let key = Key::new(cipher, b"change this password to a secret").unwrap();
        let form = Form::default().with_key(Some(key));
        for (path, compressed) in form.paths(&id) {
            let name = path.split_once('/').unwrap().1;
            unread.retain(|file| file != name);
            assert_eq!(form.parse(name), Some((id, compressed)));
            let bytes = fs::read(directory.join(name)).unwrap();
            let chunk = form.unseal(&id, compressed, bytes).unwrap();
            let chunk = chunk.open(Digest::default(), &mut Decoder::new(), 256).unwrap();
            assert_eq!(chunk.data(), plain);
        }
    }
    assert_eq!(unread, [""; 0]);
}
