//! The manual page and the completions are what the table of options says.

use std::fs;
use std::path::Path;

#[test]
fn manual_page_and_completions_are_current() {
    for (file, text) in [
        ("contrib/man/redis-cli.1", cli::manual::man_page()),
        ("contrib/completion/bash/redis-cli", cli::manual::bash_completion()),
        ("contrib/completion/zsh/_redis-cli", cli::manual::zsh_completion()),
        ("contrib/completion/fish/redis-cli.fish", cli::manual::fish_completion()),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
            fs::write(&path, &text).expect("the file can be written");
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert!(written == text, "{file} is out of date: UPDATE_DOCS=1 cargo test -p spinel-cli");
    }
}
