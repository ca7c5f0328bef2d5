//! Manual page and completions agree with the table of options.

use std::fs;
use std::path::PathBuf;

use benchmark::help;

/// `UPDATE_DOCS=1 cargo test -p spinel-benchmark` writes them anew.
#[test]
fn manual_and_completions_are_up_to_date() {
    for (file, text) in [
        ("contrib/man/spinel-benchmark.1", help::manual()),
        ("contrib/completion/bash/spinel-benchmark", help::bash_completion()),
        ("contrib/completion/zsh/_spinel-benchmark", help::zsh_completion()),
        ("contrib/completion/fish/spinel-benchmark.fish", help::fish_completion()),
    ] {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::create_dir_all(path.parent().expect("in a directory")).expect("the directory can be made");
            fs::write(&path, &text).expect("the file can be written");
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        // Not assert_eq: two pages help nobody.
        assert!(written == text, "{file} is out of date: UPDATE_DOCS=1 cargo test -p spinel-benchmark");
    }
}

#[test]
fn the_page_about_the_tool_names_every_option() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/benchmark-tool.md");
    let page = fs::read_to_string(path).expect("docs/benchmark-tool.md exists");
    for option in benchmark::options::OPTIONS {
        assert!(page.contains(&format!("`{}", option.name)), "{} is missing", option.name);
    }
}
