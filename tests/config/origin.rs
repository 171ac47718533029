//! `config --origin`: who gave each value.

use super::common::{Sandbox, run};

const FILE: &str = r#"{
  "s3-credentials": {"https://s3": {"access-key": "a", "secret-key": "hidden"}},
  "oci-credentials": {"oci+https://h": {"username": "u", "secret": "hidden"}},
  "store-options": {
    "https://h/*": {"error-retry": 1, "http-auth": "hidden", "http-cookie": "hidden", "n": 4},
    "/enc": {"encryption": true}
  }
}"#;

#[test]
fn every_value_has_its_origin_and_no_secret_shows() {
    let sandbox = Sandbox::new();
    sandbox.write("c.json", FILE.as_bytes());
    let mut command =
        sandbox.command("config --origin --config c.json -n 7 -t=false -r=false -s https://h/s");
    command.env("DESYNC_ENCRYPTION_KEY", "hidden");
    let done = run(command, None).succeeds();
    let expected = r#"config = "c.json"   # --config
digest = "sha512-256"   # default
verbose = false   # default
log-format = "text"   # default
cache-repair = false   # --cache-repair
s3-credentials."https://s3".access-key = "a"   # c.json
s3-credentials."https://s3".secret-key = ***   # c.json
oci-credentials."oci+https://h".username = "u"   # c.json
oci-credentials."oci+https://h".secret = ***   # c.json
store-options."/enc".n = 7   # --concurrency
store-options."/enc".trust-insecure = false   # --trust-insecure
store-options."/enc".timeout = 60000000000   # default
store-options."/enc".error-retry = 3   # default
store-options."/enc".error-retry-base-interval = 500000000   # default
store-options."/enc".skip-verify = false   # default
store-options."/enc".uncompressed = false   # default
store-options."/enc".encryption = true   # c.json
store-options."/enc".encryption-algorithm = "xchacha20-poly1305"   # default
store-options."/enc".encryption-key = ***   # DESYNC_ENCRYPTION_KEY
store-options."https://h/*".n = 7   # --concurrency
store-options."https://h/*".trust-insecure = false   # --trust-insecure
store-options."https://h/*".http-auth = ***   # c.json
store-options."https://h/*".http-cookie = ***   # c.json
store-options."https://h/*".timeout = 60000000000   # default
store-options."https://h/*".error-retry = 1   # c.json
store-options."https://h/*".error-retry-base-interval = 500000000   # default
store-options."https://h/*".skip-verify = false   # default
store-options."https://h/*".uncompressed = false   # default
store-options."https://h/*".encryption = false   # default
store-options."https://h/*".encryption-algorithm = "xchacha20-poly1305"   # default
store."https://h/s".n = 7   # --concurrency
store."https://h/s".trust-insecure = false   # --trust-insecure
store."https://h/s".http-auth = ***   # c.json
store."https://h/s".http-cookie = ***   # c.json
store."https://h/s".timeout = 60000000000   # default
store."https://h/s".error-retry = 1   # c.json
store."https://h/s".error-retry-base-interval = 500000000   # default
store."https://h/s".skip-verify = false   # default
store."https://h/s".uncompressed = false   # default
store."https://h/s".encryption = false   # default
store."https://h/s".encryption-algorithm = "xchacha20-poly1305"   # default
"#;
    assert_eq!((done.text(), &done.stderr[..]), (expected, ""));
}

#[test]
fn plain_config_shows_secrets_as_scripts_need_them() {
    let sandbox = Sandbox::new();
    sandbox.write("c.json", FILE.as_bytes());
    let done = sandbox.cairn("config --config c.json").succeeds();
    assert_eq!(done.text().matches("\"hidden\"").count(), 4);
}

#[test]
fn nothing_configured_has_its_origin_too() {
    let sandbox = Sandbox::new();
    let done = sandbox.cairn("--digest=sha256 config --origin --log-format json").succeeds();
    let expected = "config = null   # default\ndigest = \"sha256\"   # --digest\n\
                    verbose = false   # default\nlog-format = \"json\"   # --log-format\n\
                    cache-repair = true   # default\n";
    assert_eq!((done.text(), &done.stderr[..]), (expected, ""));
}

#[test]
fn flags_that_would_change_nothing_are_refused() {
    let sandbox = Sandbox::new();
    for words in ["config -e 5", "config -r=false", "config --write -n 3"] {
        sandbox.refuses(words, &["with --origin only"]);
    }
    for words in ["config --origin --write", "config -s store"] {
        sandbox.cairn(words).misused(&["error:"]);
    }
}
