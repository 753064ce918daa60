//! Users: what an act means on a disk as it is.

use dunlin_index::{RelPath, SafeName};
use dunlin_tree::fs::{FileKind, Fs, MemFs, UserOp};

use crate::random::Random;
use crate::scenario::Act;

/// A single thing that a user's program does.
#[derive(Clone, Debug)]
pub enum Deed {
    /// A change.
    Op(UserOp),
    /// Sets the time of the last change, in nanoseconds since 1970.
    Touch(RelPath, i64),
}

/// Something in the folder, as its user sees it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Where.
    pub path: RelPath,
    /// What.
    pub kind: FileKind,
}

/// Looks at the whole folder; empty when the disk cannot be read just now.
pub fn look(fs: &MemFs) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut todo = vec![RelPath::root()];
    while let Some(dir) = todo.pop() {
        let Ok(listing) = fs.list(&dir) else { continue };
        for (name, stat) in listing.entries {
            let Ok(path) = dir.join(&name) else { continue };
            if stat.kind == FileKind::Directory {
                todo.push(path.clone());
            }
            seen.push(Seen { path, kind: stat.kind });
        }
    }
    seen.sort_by(|a, b| a.path.cmp(&b.path));
    seen
}

/// One user's next act.
pub struct Actor<'a> {
    /// What is in the folder.
    pub seen: &'a [Seen],
    /// Decides where and what.
    pub random: Random,
    /// Makes contents unlike all others.
    pub stamp: String,
    /// The folder, to read.
    pub fs: &'a MemFs,
    /// Whether the user writes texts.
    pub texts: bool,
}

const NAMES: &[&str] = &["a", "b", "c", "d", "e", "ä"];

impl Actor<'_> {
    /// What the act comes to here; nothing, when there is nothing to do it to.
    pub fn deeds(&mut self, act: Act) -> Vec<Deed> {
        self.try_deeds(act).unwrap_or_default()
    }

    fn try_deeds(&mut self, act: Act) -> Option<Vec<Deed>> {
        let op = |op| Some(vec![Deed::Op(op)]);
        match act {
            Act::Create => {
                let path = self.free_path()?;
                op(UserOp::Write(path, self.content()))
            }
            Act::Edit => {
                let path = self.file()?;
                let content = if self.texts { self.edited(&path) } else { self.content() };
                op(UserOp::Write(path, content))
            }
            Act::Append => {
                let path = self.file()?;
                let mut content = self.fs.volume().content(&path)?;
                content.extend_from_slice(&self.content());
                op(UserOp::Write(path, content))
            }
            Act::Truncate => op(UserOp::Write(self.file()?, Vec::new())),
            Act::Replace => {
                let path = self.file()?;
                op(UserOp::Replace(path, self.content()))
            }
            Act::SaveAside => self.save_aside(),
            Act::Rename => {
                let from = self.any()?;
                let to = self.free_in(&from.parent()?)?;
                op(UserOp::Rename(from, to))
            }
            Act::Move => {
                let from = self.any()?;
                let dir = self.directory();
                op(UserOp::Rename(from, self.free_in(&dir)?))
            }
            Act::RenameOver => {
                let (from, to) = (self.file()?, self.file()?);
                (from != to).then(|| vec![Deed::Op(UserOp::Rename(from, to))])
            }
            Act::Delete => op(UserOp::Remove(self.of(|kind| kind != FileKind::Directory)?)),
            Act::DeleteTree => op(UserOp::Remove(self.of(|kind| kind == FileKind::Directory)?)),
            Act::Mkdir => op(UserOp::Mkdir(self.free_path()?)),
            Act::FileToDirectory => {
                let path = self.file()?;
                let below = path.join(&self.name()).ok()?;
                let content = self.content();
                Some(vec![Deed::Op(UserOp::Remove(path)), Deed::Op(UserOp::Write(below, content))])
            }
            Act::DirectoryToFile => {
                let path = self.of(|kind| kind == FileKind::Directory)?;
                let content = self.content();
                let remove = Deed::Op(UserOp::Remove(path.clone()));
                Some(vec![remove, Deed::Op(UserOp::Write(path, content))])
            }
            Act::Chmod => {
                let path = self.of(|kind| kind != FileKind::Symlink)?;
                op(UserOp::Chmod(path, *self.random.pick(&[0o600, 0o640, 0o700, 0o755, 0o444])))
            }
            Act::Touch => {
                let path = self.file()?;
                let time = 1_600_000_000_000_000_000 + self.random.below(1 << 50) as i64;
                Some(vec![Deed::Touch(path, time)])
            }
            Act::Symlink => {
                let path = self.free_path()?;
                op(UserOp::Symlink(path, format!("to/{}", self.stamp)))
            }
            Act::Swap => self.swap(),
            Act::Many => self.many(),
            Act::Large => {
                let path = self.free_path().or_else(|| self.file())?;
                op(UserOp::Write(path, self.large()))
            }
            Act::DeleteAll => {
                let top = self.seen.iter().filter(|seen| seen.path.names().len() == 1);
                Some(top.map(|seen| Deed::Op(UserOp::Remove(seen.path.clone()))).collect())
            }
        }
    }

    fn of(&mut self, wanted: impl Fn(FileKind) -> bool) -> Option<RelPath> {
        let fitting: Vec<&Seen> = self.seen.iter().filter(|seen| wanted(seen.kind)).collect();
        if fitting.is_empty() {
            return None;
        }
        Some(self.random.pick(&fitting).path.clone())
    }

    fn any(&mut self) -> Option<RelPath> {
        self.of(|_| true)
    }

    fn file(&mut self) -> Option<RelPath> {
        self.of(|kind| kind == FileKind::File)
    }

    fn directory(&mut self) -> RelPath {
        if self.random.permille(350) {
            return RelPath::root();
        }
        self.of(|kind| kind == FileKind::Directory).unwrap_or_else(RelPath::root)
    }

    fn name(&mut self) -> SafeName {
        let name = match self.random.below(120) {
            0 => "n".repeat(255),
            1 => format!("{}{}", "ü".repeat(120), self.random.pick(NAMES)),
            _ => (*self.random.pick(NAMES)).to_owned(),
        };
        let name = if self.texts && name.len() < 200 { format!("{name}.md") } else { name };
        SafeName::parse(&name).expect("plain names of at most 255 bytes are legal")
    }

    /// A path in a directory that nothing has yet.
    fn free_in(&mut self, dir: &RelPath) -> Option<RelPath> {
        for _ in 0..4 {
            let path = dir.join(&self.name()).ok()?;
            let deep = path.names().len() > 4;
            if !deep && self.seen.iter().all(|seen| seen.path != path) {
                return Some(path);
            }
        }
        None
    }

    fn free_path(&mut self) -> Option<RelPath> {
        let dir = self.directory();
        self.free_in(&dir)
    }

    fn content(&mut self) -> Vec<u8> {
        if self.random.permille(80) {
            return format!("same {}", self.random.below(3)).into_bytes();
        }
        let mut content = format!("{} {}", self.stamp, self.random.below(1 << 32));
        let more = self.random.below(30);
        content.extend((0..more).map(|_| '.'));
        if self.texts {
            content.push('\n');
        }
        content.into_bytes()
    }

    /// A text in which a line was put in, taken out, or written anew.
    fn edited(&mut self, path: &RelPath) -> Vec<u8> {
        let before = self.fs.volume().content(path).unwrap_or_default();
        let mut lines: Vec<Vec<u8>> =
            before.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        let at = self.random.below(lines.len() as u64 + 1) as usize;
        let how = self.random.below(4);
        if how > 0 || lines.is_empty() {
            let line = self.content();
            lines.insert(at.min(lines.len()), line);
        }
        if how < 2 && at + 1 < lines.len() {
            lines.remove(at + 1);
        }
        lines.concat()
    }

    fn large(&mut self) -> Vec<u8> {
        let len = self.random.between(65 << 10, 300 << 10);
        let mut content = self.content();
        while (content.len() as u64) < len {
            content.extend_from_slice(&self.random.draw().to_le_bytes());
        }
        content
    }

    fn save_aside(&mut self) -> Option<Vec<Deed>> {
        let path = self.file()?;
        let backup = SafeName::parse(&format!("{}~", path.name()?)).ok()?;
        let aside = path.parent()?.join(&backup).ok()?;
        let content = self.content();
        Some(vec![
            Deed::Op(UserOp::Rename(path.clone(), aside.clone())),
            Deed::Op(UserOp::Write(path, content)),
            Deed::Op(UserOp::Remove(aside)),
        ])
    }

    fn swap(&mut self) -> Option<Vec<Deed>> {
        let (one, other) = (self.any()?, self.any()?);
        if one.starts_with(&other) || other.starts_with(&one) {
            return None;
        }
        let between = RelPath::parse("swapping").ok()?;
        Some(vec![
            Deed::Op(UserOp::Rename(one.clone(), between.clone())),
            Deed::Op(UserOp::Rename(other.clone(), one)),
            Deed::Op(UserOp::Rename(between, other)),
        ])
    }

    fn many(&mut self) -> Option<Vec<Deed>> {
        let dir = self.directory();
        let count = self.random.between(20, 50);
        let mut deeds = Vec::new();
        for number in 0..count {
            let name = SafeName::parse(&format!("many{number}")).ok()?;
            deeds.push(Deed::Op(UserOp::Write(dir.join(&name).ok()?, self.content())));
        }
        Some(deeds)
    }
}

/// What a deed would write.
pub fn written(deed: &Deed) -> Option<&Vec<u8>> {
    match deed {
        Deed::Op(UserOp::Write(_, content) | UserOp::Replace(_, content)) => Some(content),
        _ => None,
    }
}
