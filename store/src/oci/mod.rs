//! Chunks and indexes in a container registry, laid out as desync does.
//!
//! ```text
//! tag <id><suffix> -> manifest (type, one layer) -> blob of the stored bytes, by its SHA-256
//! tag <name>       -> manifest (type, one layer) -> blob of the index, by its SHA-256
//!
//! repository   the URL of a store -> the URLs of its parts
//! manifest     what a manifest says, both ways
//! checked      a blob against its digest, as it arrives
//! challenge    what a registry answers to those it does not know
//! login        who we are: environment, configuration, docker's own file
//! docker       docker's file and the programs it names
//! token        what the place to log in gives for it
//! registry     requests with what the registry wants to see, and again with a new one
//! upload       a blob's way up
//! tags         the list of what is there, page by page
//! turns        one at a time for each tag
//! objects      all of that as a backend
//! ```
//! Everything that says who we are goes to the registry itself, or to the place to log in that the
//! registry names, and nowhere else. Blobs may come from other hosts, which are told nothing; the ids
//! of chunks are checked above, and the digests of indexes here.

mod challenge;
mod checked;
mod docker;
mod login;
mod manifest;
mod objects;
mod registry;
mod repository;
mod tags;
mod token;
mod turns;
mod upload;

pub(crate) use objects::OciObjects;
