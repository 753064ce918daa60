//! Which files are texts that merge.

use globset::{GlobBuilder, GlobMatcher};

use crate::TEXT_BYTES_MAX;

/// A folder has at most so many patterns of its own.
pub const PATTERNS_MAX: usize = 256;

/// A pattern that is longer, in bytes, is refused.
pub const PATTERN_BYTES_MAX: usize = 256;

/// Prose, marked-up text, notes. Sorted, lower case, like the lists below.
const PROSE: &[&str] = &[
    "adoc", "asc", "asciidoc", "bib", "cls", "creole", "csv", "fountain", "latex", "ltx",
    "markdown", "md", "mdown", "mdx", "mkd", "norg", "opml", "org", "po", "pot", "qmd", "rmd",
    "rst", "srt", "sty", "tex", "texi", "text", "textile", "tsv", "txt", "typ", "vtt", "wiki",
];

/// Programs and what describes the look of a page.
const CODE: &[&str] = &[
    "asm", "astro", "awk", "bash", "bat", "c", "cc", "cjs", "clj", "cljs", "cmake", "cpp", "cr",
    "cs", "css", "cxx", "d", "dart", "el", "elm", "erl", "ex", "exs", "f90", "fish", "fs", "fsx",
    "gd", "glsl", "go", "gradle", "graphql", "groovy", "h", "hh", "hpp", "hrl", "hs", "htm",
    "html", "hxx", "java", "jl", "js", "jsx", "kt", "kts", "less", "lisp", "lua", "m", "mjs", "mk",
    "ml", "mli", "nim", "nix", "pas", "php", "pl", "pm", "proto", "ps1", "py", "pyi", "r", "rb",
    "rkt", "rs", "s", "sass", "scala", "scm", "scss", "sh", "sql", "svelte", "swift", "tcl", "tf",
    "ts", "tsx", "v", "vb", "vhd", "vim", "vue", "wgsl", "zig", "zsh",
];

/// Settings and records that people write by hand.
const DATA: &[&str] = &[
    "cfg",
    "cnf",
    "conf",
    "desktop",
    "edn",
    "env",
    "hcl",
    "ini",
    "json",
    "json5",
    "jsonc",
    "jsonl",
    "ldif",
    "ledger",
    "ndjson",
    "properties",
    "ron",
    "toml",
    "yaml",
    "yml",
];

/// Names without an ending.
const NAMES: &[&str] = &[
    ".bashrc",
    ".dunlinignore",
    ".editorconfig",
    ".gitattributes",
    ".gitconfig",
    ".gitignore",
    ".gitmodules",
    ".profile",
    ".vimrc",
    ".zshrc",
    "authors",
    "changelog",
    "contributing",
    "copying",
    "dockerfile",
    "justfile",
    "license",
    "makefile",
    "news",
    "notes",
    "notice",
    "readme",
    "todo",
];

/// Names that the lists above would take, but that programs write and check as a whole.
const NOT_NAMES: &[&str] = &["composer.lock", "npm-shrinkwrap.json", "package-lock.json"];

/// Why a pattern is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// There are more than [`PATTERNS_MAX`].
    #[error("{0} patterns are too many (at most {PATTERNS_MAX})")]
    TooMany(usize),
    /// It is empty, or longer than [`PATTERN_BYTES_MAX`].
    #[error("a pattern has 1 to {PATTERN_BYTES_MAX} bytes, and this one has {0}")]
    Length(usize),
    /// It is no glob.
    #[error("`{pattern}` is not a pattern: {reason}")]
    Glob {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Which names are those of texts: the built-in ones (prose, code, settings), and what a folder
/// says besides.
///
/// A folder's pattern is a glob that knows no difference between upper and lower case. Without a
/// slash it is for the file's name, with one for the path from the folder's root. A `!` in front
/// says that such files are no texts. The last pattern that matches decides; `!*` first begins from
/// nothing.
#[derive(Clone, Debug, Default)]
pub struct Patterns(Vec<Pattern>);

#[derive(Clone, Debug)]
struct Pattern {
    glob: GlobMatcher,
    whole_path: bool,
    is_text: bool,
}

impl Patterns {
    /// Reads patterns, to which the built-in ones are added in front.
    ///
    /// # Errors
    /// When one is no pattern, or there are too many.
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Result<Self, PatternError> {
        if patterns.len() > PATTERNS_MAX {
            return Err(PatternError::TooMany(patterns.len()));
        }
        patterns.iter().map(|pattern| parse(pattern.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// Whether the file at `path` (from the folder's root, with slashes) is a text by its name.
    #[must_use]
    pub fn is_text_name(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        let decides = |pattern: &&Pattern| {
            pattern.glob.is_match(if pattern.whole_path { path } else { name })
        };
        match self.0.iter().rev().find(decides) {
            Some(pattern) => pattern.is_text,
            None => is_built_in(name),
        }
    }
}

fn parse(pattern: &str) -> Result<Pattern, PatternError> {
    if pattern.is_empty() || pattern.len() > PATTERN_BYTES_MAX {
        return Err(PatternError::Length(pattern.len()));
    }
    let (is_text, bare) = pattern.strip_prefix('!').map_or((true, pattern), |rest| (false, rest));
    let glob = GlobBuilder::new(bare.strip_prefix('/').unwrap_or(bare))
        .case_insensitive(true)
        .literal_separator(true)
        .build()
        .map_err(|error| PatternError::Glob {
            pattern: pattern.to_owned(),
            reason: error.kind().to_string(),
        })?;
    Ok(Pattern { glob: glob.compile_matcher(), whole_path: bare.contains('/'), is_text })
}

fn is_built_in(name: &str) -> bool {
    let name = name.to_lowercase();
    if NOT_NAMES.contains(&name.as_str()) {
        return false;
    }
    let ending = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty());
    let known = |list: &[&str], what: &str| list.binary_search(&what).is_ok();
    known(NAMES, &name)
        || ending.is_some_and(|(_, ending)| {
            known(PROSE, ending) || known(CODE, ending) || known(DATA, ending)
        })
}

/// Returns the bytes as a text if they can be one: valid UTF-8 without NUL, of at most
/// [`TEXT_BYTES_MAX`] bytes.
#[must_use]
pub fn is_text(bytes: &[u8]) -> Option<&str> {
    if bytes.len() > TEXT_BYTES_MAX || bytes.contains(&0) {
        return None;
    }
    std::str::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_and_lower_case() {
        for list in [PROSE, CODE, DATA, NAMES, NOT_NAMES] {
            assert!(list.is_sorted());
            assert!(list.iter().all(|name| *name == name.to_lowercase()));
        }
    }

    #[test]
    fn built_in_names() {
        let patterns = Patterns::default();
        for text in ["a.md", "A.MD", "dir/b.Org", "c.tex", "Makefile", "x/.gitignore", "l.jsonl"] {
            assert!(patterns.is_text_name(text), "{text}");
        }
        for other in ["a.jpg", "md", ".md", "a.md/b.png", "package-lock.json", "x.docx", "y.svg"] {
            assert!(!patterns.is_text_name(other), "{other}");
        }
    }

    #[test]
    fn the_last_pattern_that_matches_decides() {
        let patterns = Patterns::new(&["*.log", "!*.csv", "!/private/*.md", "data/**/keep.csv"])
            .expect("valid patterns");
        for text in ["a.log", "x/A.LOG", "a.md", "x/private/a.md", "data/x/y/keep.csv"] {
            assert!(patterns.is_text_name(text), "{text}");
        }
        for other in ["a.csv", "private/a.md", "keep.csv"] {
            assert!(!patterns.is_text_name(other), "{other}");
        }
        let only = Patterns::new(&["!*", "*.md"]).expect("valid patterns");
        assert!(only.is_text_name("a.md") && !only.is_text_name("a.txt"));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        assert_eq!(Patterns::new(&[""]).err(), Some(PatternError::Length(0)));
        let long = "x".repeat(PATTERN_BYTES_MAX + 1);
        assert_eq!(Patterns::new(&[long]).err(), Some(PatternError::Length(257)));
        assert_eq!(Patterns::new(&vec!["x"; 257]).err(), Some(PatternError::TooMany(257)));
        assert!(matches!(Patterns::new(&["a[b"]), Err(PatternError::Glob { .. })));
    }

    #[test]
    fn a_text_is_utf8_without_nul_and_not_too_long() {
        assert_eq!(is_text(b"\xEF\xBB\xBFabc\r\n"), Some("\u{feff}abc\r\n"));
        assert_eq!(is_text(b""), Some(""));
        assert_eq!(is_text(b"a\0b"), None);
        assert_eq!(is_text(b"\xff\xfeab"), None);
        assert!(is_text(&vec![b'a'; TEXT_BYTES_MAX]).is_some());
        assert_eq!(is_text(&vec![b'a'; TEXT_BYTES_MAX + 1]), None);
    }
}
