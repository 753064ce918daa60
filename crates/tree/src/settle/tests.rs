use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn path(text: &str) -> RelPath {
    RelPath::parse(text).expect("test paths are good")
}

fn event(kind: RawKind, at: &str) -> RawEvent {
    RawEvent { kind, path: path(at), is_dir: false }
}

struct Script(Settler);

impl Script {
    fn new() -> Self {
        Self(Settler::new())
    }

    fn push(&mut self, now_ms: u64, kind: RawKind, at: &str) -> &mut Self {
        self.0.push(event(kind, at), now_ms, |_| false);
        self
    }

    fn push_known(&mut self, now_ms: u64, kind: RawKind, at: &str) -> &mut Self {
        self.0.push(event(kind, at), now_ms, |_| true);
        self
    }

    /// Runs the clock to the end and lists (time, paths).
    fn run(&mut self) -> Vec<(u64, Vec<String>)> {
        let mut out = Vec::new();
        while let Some(at) = self.0.next_due() {
            match self.0.due(at) {
                Some(Due::Look(looks)) => {
                    out.push((at, looks.iter().map(|look| look.path.to_string()).collect()));
                }
                Some(Due::ScanAll) => out.push((at, vec!["*".to_owned()])),
                None => panic!("nothing was due at its time"),
            }
        }
        out
    }
}

fn at(time: u64, paths: &[&str]) -> (u64, Vec<String>) {
    (time, paths.iter().map(|path| (*path).to_owned()).collect())
}

#[test]
fn a_closed_file_is_looked_at_at_once() {
    let mut script = Script::new();
    script.push(5, RawKind::Create(Node::File), "a").push(6, RawKind::Modify, "a");
    script.push(7, RawKind::CloseWrite, "a");
    assert_eq!(script.run(), [at(7, &["a"])]);
}

#[test]
fn an_open_file_waits_for_quiet_but_not_for_ever() {
    let mut script = Script::new();
    script.push(0, RawKind::Modify, "a").push(900, RawKind::Modify, "a");
    assert_eq!(script.run(), [at(1_900, &["a"])]);
    for now in (0..20).map(|step| step * 900) {
        script.push(now, RawKind::Modify, "a");
        script.push(now, RawKind::Create(Node::Symlink), "other");
        if now == 0 {
            assert_eq!(script.0.next_due(), Some(0), "one file that is written starves no other");
        }
    }
    script.0.due(0);
    assert_eq!(script.0.next_due(), Some(DELAY_MS_MAX));
}

#[test]
fn a_created_file_without_a_close_is_looked_at_after_quiet() {
    let mut script = Script::new();
    script.push(0, RawKind::Create(Node::File), "hard link");
    assert_eq!(script.run(), [at(CREATED_MS, &["hard link"])]);
}

#[test]
fn both_halves_of_a_rename_come_together() {
    let mut script = Script::new();
    script.push(0, RawKind::MovedFrom(Some(1)), "a").push(3, RawKind::MovedTo(Some(1)), "b");
    assert_eq!(script.run(), [at(RENAME_WINDOW_MS, &["a", "b"])]);
}

#[test]
fn a_directory_that_was_moved_waits_for_no_window() {
    let mut settler = Settler::new();
    let moved = |kind, at| RawEvent { is_dir: true, ..event(kind, at) };
    settler.push(moved(RawKind::MovedFrom(Some(1)), "old"), 0, |_| true);
    settler.push(moved(RawKind::MovedTo(Some(1)), "new"), 3, |_| false);
    assert_eq!(Script(settler).run(), [at(3 + DIRECTORY_MOVE_MS, &["new", "old"])]);
    // Out of the folder, or into it, there is one half alone.
    let mut settler = Settler::new();
    settler.push(moved(RawKind::MovedFrom(Some(1)), "out"), 0, |_| true);
    settler.push(moved(RawKind::MovedTo(Some(2)), "in"), 0, |_| false);
    assert_eq!(Script(settler).run(), [at(0, &["in"]), at(RENAME_WINDOW_MS, &["out"])]);
}

#[test]
fn a_name_that_comes_back_is_an_edit_at_once() {
    let mut script = Script::new();
    // vim with a backup: f -> f~, a new f is written, f~ is removed.
    script.push(0, RawKind::MovedFrom(Some(1)), "f").push_known(0, RawKind::MovedTo(Some(1)), "f~");
    script.push(1, RawKind::Create(Node::File), "f").push(2, RawKind::CloseWrite, "f");
    script.0.due(2);
    assert!(!script.0.pending.contains_key(&path("f")), "looked at when it was closed");
    let mut script = Script::new();
    script.push(0, RawKind::Remove, "f").push(10, RawKind::MovedTo(None), "f");
    assert_eq!(script.run(), [at(10, &["f"])]);
}

#[test]
fn a_rename_over_a_known_path_does_not_wait() {
    let mut script = Script::new();
    script.push(0, RawKind::MovedFrom(Some(1)), "tmp");
    script.push_known(0, RawKind::MovedTo(Some(1)), "f");
    assert_eq!(script.run(), [at(0, &["f"]), at(RENAME_WINDOW_MS, &["tmp"])]);
}

#[test]
fn a_removal_takes_back_the_moment_that_was_set() {
    let mut script = Script::new();
    script.push(0, RawKind::CloseWrite, "f").push(0, RawKind::Remove, "f");
    assert_eq!(script.run(), [at(RENAME_WINDOW_MS, &["f"])]);
}

#[test]
fn paths_below_a_directory_that_is_gone_through_are_folded_into_it() {
    let mut script = Script::new();
    script.push(0, RawKind::Create(Node::Directory), "d");
    script.push(0, RawKind::CloseWrite, "d/x").push(0, RawKind::CloseWrite, "d2");
    assert_eq!(script.run(), [at(0, &["d", "d2"])]);
}

#[test]
fn too_many_paths_become_one_scan() {
    let mut script = Script::new();
    for number in 0..=PENDING_MAX {
        script.push(0, RawKind::Modify, &number.to_string());
    }
    assert!(script.0.pending.is_empty());
    assert_eq!(script.run(), [at(SCAN_ALL_MS, &["*"])]);
    script.push(1_000, RawKind::CloseWrite, "after");
    assert_eq!(script.run(), [at(1_000, &["after"])]);
}

fn kinds() -> impl Strategy<Value = RawKind> {
    prop_oneof![
        Just(RawKind::Create(Node::File)),
        Just(RawKind::Create(Node::Directory)),
        Just(RawKind::Create(Node::Symlink)),
        Just(RawKind::CloseWrite),
        Just(RawKind::Modify),
        Just(RawKind::Remove),
        Just(RawKind::Attrib),
        (0u32..4).prop_map(|cookie| RawKind::MovedFrom(Some(cookie))),
        (0u32..4).prop_map(|cookie| RawKind::MovedTo(Some(cookie))),
        Just(RawKind::MovedTo(None)),
        Just(RawKind::Rescan),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever comes, each event is followed by a look that covers its path, in time.
    #[test]
    fn no_event_is_lost_or_late(
        events in proptest::collection::vec(
            (
                (0u64..700, kinds(), 0usize..6),
                (any::<bool>(), any::<bool>(), proptest::bool::weighted(0.02)),
            ),
            1..60,
        )
    ) {
        let names = ["a", "b", "d", "d/x", "d/y", "d/e/z"];
        let mut settler = Settler::new();
        let mut now = 0;
        // The oldest event at each path that nothing has covered yet.
        let mut open: BTreeMap<RelPath, u64> = BTreeMap::new();
        let settle = |settler: &mut Settler, open: &mut BTreeMap<RelPath, u64>, until: u64| {
            while let Some(next) = settler.next_due().filter(|next| *next <= until) {
                let due = settler.due(next);
                prop_assert!(due.is_some(), "nothing at {}", next);
                open.retain(|path, _| match &due {
                    Some(Due::Look(looks)) => !looks.iter().any(|look| {
                        look.path == *path || (look.deep && path.starts_with(&look.path))
                    }),
                    _ => false,
                });
                for first in open.values() {
                    prop_assert!(next <= first + DELAY_MS_MAX);
                }
            }
            Ok(())
        };
        for ((gap, kind, name), (known, is_dir, overflow)) in events {
            let until = now + gap;
            settle(&mut settler, &mut open, until)?;
            now = until;
            let kind = if overflow { RawKind::Overflow } else { kind };
            settler.push(RawEvent { is_dir, ..event(kind, names[name]) }, now, |_| known);
            open.entry(path(names[name])).or_insert(now);
        }
        settle(&mut settler, &mut open, u64::MAX)?;
        prop_assert!(open.is_empty(), "never looked at: {:?}", open);
    }
}
