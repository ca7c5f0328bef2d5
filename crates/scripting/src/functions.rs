//! Libraries of functions: what FUNCTION LOAD keeps, and FCALL finds.
//!
//! ```text
//!  #!lua name=mylib                                      the header
//!  redis.register_function('f', function(keys, args) … end)      the program, which runs once, when it is loaded
//! ```
//!
//! A library is compiled before it is added, so that one that fails leaves everything as it was. Names of libraries are told apart by
//! case, those of functions are not.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use config::words::split_words;
use parking_lot::Mutex;

use crate::engine::Engine;
use crate::script::ScriptFlags;

/// A function that may run.
#[derive(Clone, Debug)]
pub struct Function {
    pub name: Arc<str>,
    pub description: Option<Arc<[u8]>>,
    pub flags: ScriptFlags,
    /// Where the interpreter has it.
    pub(crate) chunk: i64,
}

/// A library, and what it has registered.
#[derive(Clone, Debug)]
pub struct Library {
    pub name: Arc<str>,
    /// All of its text, with the header.
    pub code: Arc<[u8]>,
    pub functions: Vec<Function>,
}

/// What becomes of libraries that are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// They stay. Another of the same name is an error.
    Append,
    /// Those that another comes for go.
    Replace,
    /// All of them go.
    Flush,
}

/// What a library's first line says.
struct Header {
    name: Arc<str>,
    /// Where the program begins: at the line end, so that lines keep their numbers.
    program_start: usize,
}

/// A name of libraries and functions.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl Header {
    fn parse(code: &[u8]) -> Result<Header, Vec<u8>> {
        const NAME: &[u8] = b"name=";
        let refused = |text: &str| Err(text.as_bytes().to_vec());
        let quoting = |before: &str, word: &[u8], after: &str| {
            let shown = word.split(|&byte| byte == 0).next().unwrap_or_default();
            Err([before.as_bytes(), shown, after.as_bytes()].concat())
        };
        if !code.starts_with(b"#!") {
            return refused("ERR Missing library metadata");
        }
        let line = memchr::memchr(b'\n', code).map(|end| (end, split_words(&code[2..end])));
        let Some((program_start, Ok(words))) = line else {
            return refused("ERR Invalid library metadata");
        };
        // A blank behind the mark is an engine without a name.
        let begins_blank = code.get(2).is_some_and(|byte| byte.is_ascii_whitespace());
        let (engine, options) = match words.split_first() {
            Some((engine, options)) if !begins_blank => (&engine[..], options),
            _ => (&b""[..], &words[..]),
        };
        let mut name = None;
        for option in options {
            match option.get(..NAME.len()) {
                Some(start) if start.eq_ignore_ascii_case(NAME) => {
                    if name.replace(&option[NAME.len()..]).is_some() {
                        return refused("ERR Invalid metadata value, name argument was given multiple times");
                    }
                }
                _ => return quoting("ERR Invalid metadata value given: ", option, ""),
            }
        }
        let Some(name) = name else { return refused("ERR Library name was not given") };
        let Some(name) = Some(name).filter(|name| is_name(name)).and_then(|name| std::str::from_utf8(name).ok()) else {
            return refused(
                "ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one character long",
            );
        };
        if !engine.eq_ignore_ascii_case(b"lua") {
            return quoting("ERR Engine '", engine, "' not found");
        }
        Ok(Header { name: name.into(), program_start })
    }
}

/// All libraries, and their interpreter.
#[derive(Default)]
pub struct Functions {
    libraries: BTreeMap<Arc<str>, Library>,
    /// By name in lower case.
    functions: HashMap<Box<str>, Function>,
    /// Made when the first library comes. Shared, so that a function's commands can have the world while it runs.
    engine: Arc<Mutex<Option<Engine>>>,
}

impl Functions {
    /// FUNCTION LOAD: adds a library, and returns its name. `version` is what a new interpreter tells of the server, `log` takes its lines.
    ///
    /// # Errors
    /// The text for the client.
    pub fn load(
        &mut self,
        code: &[u8],
        policy: Policy,
        version: [u8; 3],
        log: &mut dyn FnMut(u8, &str),
    ) -> Result<Arc<str>, Vec<u8>> {
        let header = Header::parse(code)?;
        if policy == Policy::Append && self.libraries.contains_key(&header.name) {
            return Err(format!("ERR Library '{}' already exists", header.name).into_bytes());
        }
        let name = header.name.clone();
        let library = self.compile(header, code, version, log)?;
        self.add(vec![library], policy)?;
        Ok(name)
    }

    /// FUNCTION RESTORE, and what a file holds: adds all of these or none.
    ///
    /// # Errors
    /// The text for the client.
    pub fn restore(
        &mut self,
        codes: &[Vec<u8>],
        policy: Policy,
        version: [u8; 3],
        log: &mut dyn FnMut(u8, &str),
    ) -> Result<(), Vec<u8>> {
        let mut libraries: Vec<Library> = Vec::new();
        let mut compiled = || {
            for code in codes {
                let header = Header::parse(code)?;
                if libraries.iter().any(|library| library.name == header.name) {
                    return Err(format!("ERR Library '{}' already exists", header.name).into_bytes());
                }
                let library = self.compile(header, code, version, log)?;
                libraries.push(library);
            }
            Ok(())
        };
        if let Err(text) = compiled() {
            self.forget(&libraries);
            return Err(text);
        }
        self.add(libraries, policy)
    }

    fn compile(
        &self,
        header: Header,
        code: &[u8],
        version: [u8; 3],
        log: &mut dyn FnMut(u8, &str),
    ) -> Result<Library, Vec<u8>> {
        let mut engine = self.engine.lock();
        let engine = match &mut *engine {
            Some(engine) => engine,
            empty => empty.insert(Engine::for_functions(version)?),
        };
        let functions = engine.load_library(&code[header.program_start..], log)?;
        if functions.is_empty() {
            return Err(b"ERR No functions registered".to_vec());
        }
        Ok(Library { name: header.name, code: code.into(), functions })
    }

    /// Adds all of these or none.
    fn add(&mut self, libraries: Vec<Library>, policy: Policy) -> Result<(), Vec<u8>> {
        if let Err(text) = self.may_add(&libraries, policy) {
            self.forget(&libraries);
            return Err(text);
        }
        let gone: Vec<Library> = match policy {
            Policy::Append => Vec::new(),
            Policy::Replace => libraries.iter().filter_map(|library| self.libraries.remove(&library.name)).collect(),
            Policy::Flush => std::mem::take(&mut self.libraries).into_values().collect(),
        };
        self.unregister(&gone);
        for library in libraries {
            for function in &library.functions {
                self.functions.insert(function.name.to_ascii_lowercase().into(), function.clone());
            }
            self.libraries.insert(library.name.clone(), library);
        }
        Ok(())
    }

    fn may_add(&self, libraries: &[Library], policy: Policy) -> Result<(), Vec<u8>> {
        if policy == Policy::Append
            && let Some(library) = libraries.iter().find(|library| self.libraries.contains_key(&library.name))
        {
            return Err(format!("ERR Library {} already exists", library.name).into_bytes());
        }
        let stays = |library: &&Library| match policy {
            Policy::Append => true,
            Policy::Replace => libraries.iter().all(|new| new.name != library.name),
            Policy::Flush => false,
        };
        let others = self.libraries.values().filter(stays);
        let mut taken: std::collections::HashSet<String> =
            others.flat_map(|library| &library.functions).map(|function| function.name.to_ascii_lowercase()).collect();
        for function in libraries.iter().flat_map(|library| &library.functions) {
            if !taken.insert(function.name.to_ascii_lowercase()) {
                return Err(format!("ERR Function {} already exists", function.name).into_bytes());
            }
        }
        Ok(())
    }

    fn unregister(&mut self, libraries: &[Library]) {
        for function in libraries.iter().flat_map(|library| &library.functions) {
            self.functions.remove(&*function.name.to_ascii_lowercase());
        }
        self.forget(libraries);
    }

    fn forget(&self, libraries: &[Library]) {
        if let Some(engine) = &mut *self.engine.lock() {
            let chunks = libraries.iter().flat_map(|library| &library.functions).map(|function| function.chunk);
            chunks.for_each(|chunk| engine.forget_chunk(chunk));
        }
    }

    /// FUNCTION DELETE; false if there is none.
    pub fn delete(&mut self, name: &[u8]) -> bool {
        let library = std::str::from_utf8(name).ok().and_then(|name| self.libraries.remove(name));
        library.map(|library| self.unregister(&[library])).is_some()
    }

    /// FUNCTION FLUSH: nothing is left, also of what libraries have left in their interpreter, which is returned.
    pub fn clear(&mut self) -> Option<Engine> {
        self.libraries.clear();
        self.functions.clear();
        self.engine.lock().take()
    }

    /// The function of this name, in any case.
    pub fn find(&self, name: &[u8]) -> Option<&Function> {
        self.functions.get(&*String::from_utf8(name.to_ascii_lowercase()).ok()?)
    }

    /// In the order of their names.
    pub fn libraries(&self) -> impl ExactSizeIterator<Item = &Library> {
        self.libraries.values()
    }

    pub fn function_count(&self) -> usize {
        self.functions.len()
    }

    /// The interpreter, for whoever runs a function.
    pub fn engine(&self) -> Arc<Mutex<Option<Engine>>> {
        self.engine.clone()
    }

    /// Memory of the interpreter; `None` while it is in use.
    pub fn interpreter_bytes(&self) -> Option<usize> {
        Some(self.engine.try_lock()?.as_ref().map_or(0, Engine::memory_bytes))
    }

    /// What is kept besides.
    pub fn text_bytes(&self) -> usize {
        let of = |library: &Library| {
            let functions = library.functions.iter().map(|function| {
                let description = function.description.as_ref().map_or(0, |text| text.len());
                2 * (size_of::<Function>() + function.name.len()) + description
            });
            size_of::<Library>() + library.name.len() + library.code.len() + functions.sum::<usize>()
        };
        self.libraries.values().map(of).sum()
    }
}
