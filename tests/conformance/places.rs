//! Constructors of stores in places: each store is in a fresh one.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use cairn_formats::seal::{Cipher, Key};
use cairn_formats::{Digest, Form};
use cairn_store::local::LruStore;
use cairn_store::serve::{
    ChunkService, Limits, Reader, Server, ServerOptions, Stopper, StoreNames, WireOptions,
};
use cairn_store::ssh::{Programs, SshStore};
use cairn_store::testing::{Pair, by_program};
use cairn_store::{
    Credentials, Durability, LocalOptions, LocalStore, Location, MemoryStore, PruneStore, Result,
    Secret, StoreOptions, WriteStore, open_prunable, open_writable,
};
use tempfile::TempDir;

use crate::common::Sandbox;
use crate::common::moto::Moto;
use crate::common::nginx::Nginx;
use crate::common::registry::{Registry, Setup};
use crate::common::server::DesyncServer;
use crate::common::sshd::Sshd;
use crate::common::stand_in::HERE;

pub const CAIRN: &str = env!("CARGO_BIN_EXE_cairn");

/// Paths of which each is there once, below one that is removed in the end.
struct Fresh {
    directory: TempDir,
    number: Cell<usize>,
}

impl Fresh {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), number: Cell::new(0) }
    }

    fn path(&self) -> PathBuf {
        self.number.set(self.number.get() + 1);
        self.directory.path().join(self.number.get().to_string())
    }
}

/// A form whose chunks are encrypted.
pub fn sealed(form: Form, cipher: Cipher) -> Form {
    form.with_key(Some(Key::new(cipher, &[7; 32]).unwrap()))
}

pub fn directory(form: Form, durability: Durability) -> impl Fn() -> LocalStore {
    let fresh = Fresh::new();
    let options = LocalOptions { form, durability, ..LocalOptions::default() };
    move || LocalStore::create(&fresh.path(), options.clone()).unwrap()
}

/// A cache of limited size, listed as a directory.
pub fn lru() -> impl Fn() -> Pair<LruStore, LocalStore> {
    let fresh = Fresh::new();
    move || {
        let path = fresh.path();
        let store = LocalStore::cache(&path, LocalOptions::default()).unwrap();
        let writer = LocalStore::open(&path, LocalOptions::default()).unwrap();
        Pair { reader: LruStore::new(store, 1 << 30), writer }
    }
}

/// As of `-s 'one|two'`.
pub fn mirrored_directories() -> impl Fn() -> Box<dyn WriteStore> {
    let fresh = Fresh::new();
    move || {
        let place = || (Location::Local(fresh.path()), StoreOptions::default());
        open_writable(&[place(), place()]).unwrap()
    }
}

/// A server in this process, ended when it is dropped.
struct Serving(Stopper);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Behind cairn's own chunk server, of the same form.
pub fn served(form: Form) -> impl Fn() -> Box<dyn WriteStore> {
    let servers = RefCell::new(Vec::new());
    move || {
        let reader = Reader::new(form.clone(), Digest::default(), false);
        let store = Box::new(MemoryStore::default());
        let backend = reader.writable_backend(store, StoreNames::default());
        let (digest, skip_verify_write) = (Digest::default(), false);
        let wire = WireOptions { form: form.clone(), digest, skip_verify_write };
        let options = ServerOptions {
            listen: vec!["127.0.0.1:0".to_owned()],
            tls: None,
            authorization: None,
            prefix: String::new(),
            pages: true,
            log: None,
            report: Arc::new(|line| panic!("{line}")),
            limits: Limits::default(),
        };
        let service = Arc::new(ChunkService::new(reader, backend, wire));
        let server = Server::of_chunks(options, service).unwrap();
        let location = format!("http://{}/", server.addresses()[0]);
        servers.borrow_mut().push(Serving(server.stopper()));
        thread::spawn(move || server.run().unwrap());
        open_writable(&[(location.parse().unwrap(), quick(&form))]).unwrap()
    }
}

/// Behind nginx, which takes what is sent to it.
pub fn behind_nginx(form: Form) -> impl Fn() -> Box<dyn WriteStore> {
    let fresh = Fresh::new();
    let nginx = Nginx::new(fresh.directory.path(), "dav_methods PUT; create_full_put_path on;");
    move || {
        let path = fresh.path();
        let url = nginx.url(path.file_name().unwrap().to_str().unwrap());
        open_writable(&[(url.parse().unwrap(), quick(&form))]).unwrap()
    }
}

/// Behind the real desync.
pub fn behind_desync() -> impl Fn() -> Box<dyn WriteStore> {
    let (sandbox, servers) = (Sandbox::new(), RefCell::new(Vec::new()));
    move || {
        let mut servers = servers.borrow_mut();
        let store = format!("store{}", servers.len());
        std::fs::create_dir(sandbox.path(&store)).unwrap();
        let server = DesyncServer::start(&sandbox, &format!("chunk-server -w -s {store}"));
        let location = format!("http://{}/", server.address);
        servers.push(server);
        open_writable(&[(location.parse().unwrap(), quick(&Form::default()))]).unwrap()
    }
}

/// In a directory behind an ssh that goes nowhere, with this program on the other side.
pub fn at_ssh(remote: &'static str) -> impl Fn() -> SshStore {
    let ssh = Ssh::new(remote);
    move || ssh.at(SshStore::open_writable(&there(&ssh.fresh.path()), &quick(&Form::default())))
}

/// The same, where it can only be read.
pub fn read_at_ssh(remote: &'static str) -> impl Fn() -> Pair<SshStore, LocalStore> {
    let ssh = Ssh::new(remote);
    move || {
        let path = ssh.fresh.path();
        let writer = LocalStore::create(&path, LocalOptions::default()).unwrap();
        Pair { reader: ssh.at(SshStore::open(&there(&path), &quick(&Form::default()))), writer }
    }
}

struct Ssh {
    programs: Programs,
    fresh: Fresh,
    /// Where the script is.
    _sandbox: Sandbox,
}

impl Ssh {
    fn new(remote: &str) -> Self {
        let sandbox = Sandbox::new();
        let programs = Programs { ssh: sandbox.script("ssh", HERE).into(), remote: remote.into() };
        Self { programs, fresh: Fresh::new(), _sandbox: sandbox }
    }

    fn at(&self, store: Result<SshStore>) -> SshStore {
        store.unwrap().with_programs(self.programs.clone())
    }
}

fn there(path: &Path) -> Location {
    format!("ssh://there{}", path.display()).parse().unwrap()
}

/// In a directory behind a real sshd.
pub fn at_sftp(form: Form) -> impl Fn() -> Box<dyn PruneStore> {
    let (sshd, fresh) = (Sshd::start(), Fresh::new());
    move || {
        let path = fresh.path();
        std::fs::create_dir(&path).unwrap();
        let location = format!("sftp://there{}", path.display()).parse().unwrap();
        Box::new(by_program(sshd.client().into(), &location, &quick(&form)).unwrap())
    }
}

/// In a bucket of moto.
pub fn in_bucket(form: Form) -> impl Fn() -> Box<dyn PruneStore> {
    let server = Moto::start();
    let mut options = stumbling(&form);
    options.remote.credentials = Some(Credentials::S3 {
        access_key: "someone".to_owned(),
        secret_key: Secret::new("of no secret"),
        region: String::new(),
    });
    let number = Cell::new(0);
    move || {
        number.set(number.get() + 1);
        let location = format!("s3+{}/bucket/s/{}", server.url(), number.get());
        open_prunable(&location.parse().unwrap(), &options).unwrap()
    }
}

/// The same by the words of Google, whose server the environment names.
pub fn in_google_bucket(form: Form) -> impl Fn() -> Box<dyn PruneStore> {
    let number = Cell::new(0);
    move || {
        number.set(number.get() + 1);
        let location = format!("gs://bucket/s/{}", number.get());
        open_prunable(&location.parse().unwrap(), &stumbling(&form)).unwrap()
    }
}

/// In a container of Azure, below this place; the environment says who we are.
pub fn in_container(place: &str, form: Form) -> impl Fn() -> Box<dyn PruneStore> {
    let number = Cell::new(0);
    move || {
        number.set(number.get() + 1);
        let location = format!("az+{place}/images/s/{}", number.get());
        open_prunable(&location.parse().unwrap(), &quick(&form)).unwrap()
    }
}

/// Options for a server that stumbles over those who write one object at once.
fn stumbling(form: &Form) -> StoreOptions {
    let mut options = quick(form);
    options.remote.retry.times = 10;
    options
}

/// In a repository of Debian's docker-registry.
pub fn in_registry(form: Form) -> impl Fn() -> Box<dyn PruneStore> {
    let (registry, number) = (Registry::start(Setup::default()), Cell::new(0));
    move || {
        number.set(number.get() + 1);
        let location = registry.store(&format!("team/store-{}", number.get()));
        open_prunable(&location.parse().unwrap(), &quick(&form)).unwrap()
    }
}

/// Options under which little is waited for, and few connections are made.
fn quick(form: &Form) -> StoreOptions {
    let mut options = StoreOptions { form: form.clone(), ..StoreOptions::default() };
    options.remote.retry.base_interval = Duration::from_millis(5);
    options.remote.connections = 3;
    options
}
