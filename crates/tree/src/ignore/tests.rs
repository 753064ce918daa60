use super::*;
use crate::scan::testing::{Disk, path};

fn rules(files: &[(&str, &str)]) -> (Disk, IgnoreRules) {
    let disk = Disk::new();
    for (file, text) in files {
        let file = path(file);
        disk.mkdir(&file.parent().expect("a file has a directory").to_string());
        disk.write(&file.to_string(), text);
    }
    let rules = IgnoreRules::load(disk.fs.as_ref()).expect("the folder can be read");
    (disk, rules)
}

#[test]
fn patterns_hold_as_in_git() {
    let text = "# a comment\n*.o\n!keep.o\n/top\nbuild/\ndoc/*.txt\na/**/z\n\\#literal\n";
    let (_disk, rules) = rules(&[(".dunlinignore", text)]);
    let cases = [
        ("x.o", false, true),
        ("deep/er/x.o", false, true),
        ("keep.o", false, false),
        ("top", false, true),
        ("deep/top", false, false),
        ("build", true, true),
        ("build", false, false),
        ("deep/build/anything", false, true),
        ("doc/a.txt", false, true),
        ("doc/b/a.txt", false, false),
        ("a/b/c/z", false, true),
        ("#literal", false, true),
        (".dunlinignore", false, false),
        ("# a comment", false, false),
    ];
    for (text, is_dir, ignored) in cases {
        assert_eq!(rules.is_ignored(&path(text), is_dir), ignored, "{text}");
    }
}

#[test]
fn a_deeper_file_counts_first_but_cannot_open_an_ignored_directory() {
    let (_disk, rules) = rules(&[
        (".dunlinignore", "*.log\nclosed/\n"),
        ("d/.dunlinignore", "!*.log\n/only-here\n"),
        ("d/e/.dunlinignore", "x.log\n"),
        ("closed/.dunlinignore", "!kept\n"),
    ]);
    let cases = [
        ("a.log", true),
        ("d/a.log", false),
        ("d/e/a.log", false),
        ("d/e/x.log", true),
        ("d/only-here", true),
        ("only-here", false),
        ("d/e/only-here", false),
        ("closed/kept", true),
    ];
    for (text, ignored) in cases {
        assert_eq!(rules.is_ignored(&path(text), false), ignored, "{text}");
        let at = path(text);
        let dir = at.parent().expect("not the root");
        let inside = rules.is_ignored_in(&dir, at.name().expect("not the root"), false);
        assert_eq!(rules.is_ignored(&dir, true) || inside, ignored, "{text}");
    }
}

#[test]
fn nothing_is_ignored_unasked() {
    let (_disk, rules) = rules(&[("a", "")]);
    assert!(rules.is_empty());
    for text in [".DS_Store", "a~", ".git/index", "Thumbs.db", "d/.dunlin"] {
        assert!(!rules.is_ignored(&path(text), false), "{text}");
    }
}

#[test]
fn a_bad_line_is_reported_and_the_others_hold() {
    let (_disk, rules) = rules(&[("d/.dunlinignore", "*.o\n[z-a\n*.tmp\n")]);
    let warnings: Vec<String> = rules.warnings().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("d/.dunlinignore, line 2: "), "{warnings:?}");
    assert!(rules.is_ignored(&path("d/a.o"), false) && rules.is_ignored(&path("d/a.tmp"), false));
}

#[test]
fn an_unusable_file_is_reported_and_changes_nothing() {
    let (disk, mut rules) = rules(&[(".dunlinignore", "*.o\n")]);
    let refresh = |disk: &Disk, rules: &mut IgnoreRules| {
        let listing = disk.fs.list(&RelPath::root()).expect("it can be listed");
        rules.refresh(disk.fs.as_ref(), &RelPath::root(), &listing)
    };
    assert!(!refresh(&disk, &mut rules), "the file is the same");
    let large = "#".repeat(usize::try_from(IGNORE_FILE_BYTES_MAX).expect("it is small") + 1);
    disk.write(".dunlinignore", &large);
    assert!(!refresh(&disk, &mut rules));
    assert_eq!(rules.warnings().count(), 1);
    assert!(rules.is_ignored(&path("a.o"), false), "what was read before holds on");
    disk.write(".dunlinignore", "*.p\n");
    assert!(refresh(&disk, &mut rules));
    assert_eq!(rules.warnings().count(), 0);
    assert!(!rules.is_ignored(&path("a.o"), false) && rules.is_ignored(&path("a.p"), false));
    disk.remove(".dunlinignore");
    assert!(refresh(&disk, &mut rules));
    assert!(rules.is_empty());
}

#[test]
fn shared_patterns_hold_everywhere_and_files_count_before_them() {
    let (_disk, mut rules) = rules(&[("d/.dunlinignore", "!wanted.tmp\n*.log\n")]);
    let patterns: Vec<String> =
        ["*.tmp", "/top", "[z-a]", "cache/", "!d/*.log"].map(str::to_owned).to_vec();
    assert!(rules.set_shared(&patterns));
    assert!(!rules.set_shared(&patterns), "they are the same");
    let cases = [
        ("x.tmp", false, true),
        ("deep/x.tmp", false, true),
        ("d/x.tmp", false, true),
        ("d/wanted.tmp", false, false),
        ("d/x.log", false, true),
        ("top", false, true),
        ("deep/top", false, false),
        ("cache", true, true),
        ("cache", false, false),
        ("cache/inside", false, true),
        ("[z-a]", false, false),
    ];
    for (text, is_dir, ignored) in cases {
        assert_eq!(rules.is_ignored(&path(text), is_dir), ignored, "{text}");
    }
    assert!(rules.set_shared(&[]));
    assert!(!rules.is_ignored(&path("x.tmp"), false));
    assert!(rules.is_ignored(&path("d/x.log"), false));
}

#[test]
fn what_can_be_a_pattern() {
    for good in ["*.tmp", "!keep", "/a/**/b", "with space", "\\#literal"] {
        assert_eq!(check_pattern(good), Ok(()), "{good}");
    }
    for wrong in ["", "  ", "# comment", "a\nb", "[z-a]"] {
        assert!(check_pattern(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn patterns_for_a_folder_match_files_and_what_is_below_a_directory() {
    let patterns = ["*.pdf", "/music/", "!draft.pdf", "# a comment"].map(str::to_owned);
    let patterns = PathPatterns::new(&patterns);
    let path = |text: &str| RelPath::parse(text).expect("a path");
    for (name, matches) in [
        ("a.pdf", true),
        ("deep/down/a.pdf", true),
        ("draft.pdf", false),
        ("music/a/b.ogg", true),
        ("other/music/b.ogg", false),
        ("a.txt", false),
    ] {
        assert_eq!(patterns.matches(&path(name)), matches, "{name}");
    }
    assert!(!patterns.is_empty() && PathPatterns::new(&[]).is_empty());
    assert!(!PathPatterns::default().matches(&path("a")));
}
