//! The documents about the configuration agree with the table.

use std::fs;
use std::path::PathBuf;

use spinel_config::{directives, docs, load};

fn repository(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(file)
}

/// `UPDATE_DOCS=1 cargo test -p spinel-config` writes the page anew.
#[test]
fn the_configuration_page_is_up_to_date() {
    let path = repository("docs/configuration.md");
    let page = docs::configuration_page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &page).expect("the page can be written");
    }
    let written = fs::read_to_string(&path).expect("docs/configuration.md exists");
    // Not assert_eq: two pages of hundreds of lines help nobody.
    assert!(written == page, "docs/configuration.md is out of date: UPDATE_DOCS=1 cargo test -p spinel-config");
}

#[test]
fn the_example_file_says_the_defaults() {
    let text = fs::read(repository("spinel.conf")).expect("spinel.conf exists");
    let config = load::load_text(&text).expect("spinel.conf is valid").config;
    for (id, directive) in directives::all() {
        assert!(config.is_default(id), "spinel.conf changes '{}'", directive.name);
    }
}

/// Lines that are commented out as examples must be valid too, once the mark is taken away.
#[test]
fn the_examples_in_the_example_file_are_valid() {
    let text = fs::read_to_string(repository("spinel.conf")).expect("spinel.conf exists");
    let mut examples = 0;
    for line in text.lines() {
        // Prose has a space behind the mark, an example has none.
        let Some(example) = line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
        else {
            continue;
        };
        examples += 1;
        if !example.starts_with("include ") {
            load::load_text(example.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        }
    }
    assert!(examples > 10, "the example file shows what can be changed");
}
