//! What a store in a real registry does.

use std::collections::BTreeSet;

use cairn_formats::Form;
use cairn_store::{Again, Error, StoreOptions, Stored, open, open_writable};

use crate::registry::{Registry, Setup, USER};
use crate::{chunk, options, options_of, store};

#[test]
fn a_repository_that_is_not_there_is_empty() {
    let registry = Registry::start(Setup::default());
    let store = store(&registry.store("nobody/here"), &options());
    assert_eq!(store.get(&chunk(1).id()).unwrap(), None);
    assert!(!store.has(&chunk(1).id()).unwrap());
    store.list(&mut |found, _| panic!("{found:?}")).unwrap();
    store.remove(&Stored::Chunk(chunk(1).id())).unwrap();
    assert_eq!(store.facts(&Stored::Chunk(chunk(1).id())).unwrap(), None);
}

#[test]
fn facts_tell_the_size_but_no_time() {
    let registry = Registry::start(Setup::default());
    let store = store(&registry.store("s"), &options());
    let chunks: Vec<_> = (0..5).map(chunk).collect();
    chunks[..4].iter().for_each(|chunk| store.put(chunk).unwrap());
    assert!(!store.is_dated());
    let found: Vec<Stored> = chunks.iter().map(|chunk| Stored::Chunk(chunk.id())).collect();
    let lens = store.facts_many(&found).into_iter().map(|facts| Some(facts.unwrap()?.len));
    let mut expected: Vec<_> =
        chunks.iter().map(|chunk| Some(chunk.bytes().len() as u64)).collect();
    expected[4] = None;
    assert_eq!(lens.collect::<Vec<_>>(), expected);
}

#[test]
fn forms_share_a_repository() {
    let registry = Registry::start(Setup::default());
    let form = Form::default().with_compression(false);
    let plain = store(&registry.store("s"), &StoreOptions { form, ..options() });
    let packed = store(&registry.store("s"), &options());
    let chunk = chunk(1);
    packed.put(&chunk).unwrap();
    assert_eq!(plain.get(&chunk.id()).unwrap(), None);
    plain.list(&mut |found, _| panic!("{found:?}")).unwrap();
    plain.remove(&Stored::Chunk(chunk.id())).unwrap();
    assert!(packed.has(&chunk.id()).unwrap());
}

#[test]
fn passwords_let_in_and_others_do_not() {
    let registry = Registry::start(Setup { asks: true, ..Setup::default() });
    let location = registry.store("s");
    let good = store(&location, &options_of(USER.0, USER.1));
    let chunks: Vec<_> = (0..20).map(chunk).collect();
    assert!(good.put_many(&chunks).into_iter().all(|outcome| outcome.is_ok()));
    assert_eq!(good.fetch(&chunks[3].id()).unwrap(), chunks[3]);
    good.remove(&Stored::Chunk(chunks[3].id())).unwrap();
    let mut listed = BTreeSet::new();
    good.list(&mut |found, _| {
        listed.insert(format!("{found:?}"));
        Ok(())
    })
    .unwrap();
    assert_eq!(listed.len(), 19);

    for (options, expected) in [
        (options(), "it asks for a user and a password, and none is known"),
        (options_of(USER.0, "wrongpass"), "401 Unauthorized"),
        (options_of("you", USER.1), "401 Unauthorized"),
    ] {
        let store = open(&[vec![(location.parse().unwrap(), options.clone())]]).unwrap();
        let error = store.get(&chunks[0].id()).unwrap_err();
        assert!(matches!(error, Error::Denied { .. }), "{error:?}");
        assert_eq!(error.again(), Again::No);
        let shown = format!("{error} {error:?} {options:?}");
        assert!(shown.contains(expected), "{shown}");
        assert!(!shown.contains(USER.1) && !shown.contains("wrongpass"), "{shown}");
        let store = open_writable(&[(location.parse().unwrap(), options)]).unwrap();
        assert!(matches!(store.put(&chunks[0]), Err(Error::Denied { .. })));
    }
}

#[test]
fn a_registry_that_keeps_all_says_so() {
    let registry = Registry::start(Setup { keeps_all: true, ..Setup::default() });
    let store = store(&registry.store("s"), &options());
    store.put(&chunk(1)).unwrap();
    let error = store.remove(&Stored::Chunk(chunk(1).id())).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
    let expected = "does not allow anything to be removed";
    assert!(error.to_string().contains(expected), "{error}");
    assert!(store.has(&chunk(1).id()).unwrap());
}
