//! The operations of the file system in memory.

use dunlin_index::{PRIVATE_NAME, SafeName};

use super::Memory;
use super::file::MemFile;
use super::state::{ROOT, State, failure};
use crate::fs::{
    FileKind, FsError, FsErrorKind as Kind, Listing, Place, ReadAt, RenameHow, Space, Stat, Volume,
    WriteAt,
};

impl Memory {
    /// Runs one operation that only looks.
    fn look<T>(
        &self,
        operation: &'static str,
        place: Place<'_>,
        run: impl FnOnce(&mut State, &[&str]) -> Result<T, Kind>,
    ) -> Result<T, FsError> {
        self.run(false, operation, place, run)
    }

    /// Runs one operation that changes something.
    fn change<T>(
        &self,
        operation: &'static str,
        place: Place<'_>,
        run: impl FnOnce(&mut State, &[&str]) -> Result<T, Kind>,
    ) -> Result<T, FsError> {
        self.run(true, operation, place, run)
    }

    fn run<T>(
        &self,
        changes: bool,
        operation: &'static str,
        place: Place<'_>,
        run: impl FnOnce(&mut State, &[&str]) -> Result<T, Kind>,
    ) -> Result<T, FsError> {
        let mut state = self.state();
        state
            .enter(changes)
            .and_then(|()| run(&mut state, &place.components()))
            .map_err(|kind| failure(operation, place, kind))
    }

    fn add(
        &self,
        operation: &'static str,
        place: Place<'_>,
        (kind, data, mode): (FileKind, Vec<u8>, u32),
    ) -> Result<(), FsError> {
        self.change(operation, place, |state, path| {
            let (dir, name, there) = state.find(path)?;
            if there.is_some() {
                return Err(Kind::Exists);
            }
            let ino = state.make_node(kind, data, mode);
            state.edit(&[(dir, name, Some(ino))]);
            state.touch(path, false);
            Ok(())
        })
    }

    fn handle(&self, place: Place<'_>, ino: u64) -> MemFile {
        MemFile::new(self, ino, place.to_string())
    }
}

/// The inode of what must be there.
fn existing(state: &State, path: &[&str]) -> Result<u64, Kind> {
    if path.is_empty() {
        return Ok(ROOT);
    }
    state.find(path)?.2.ok_or(Kind::NotFound)
}

/// The inode of a regular file, with one more handle on it.
fn opened(state: &mut State, path: &[&str]) -> Result<u64, Kind> {
    let ino = existing(state, path)?;
    match state.node(ino).kind {
        FileKind::File => {}
        FileKind::Directory => return Err(Kind::IsADirectory),
        _ => return Err(Kind::NotAFile),
    }
    state.node_mut(ino).open += 1;
    Ok(ino)
}

fn unlink(state: &mut State, path: &[&str]) -> Result<(), Kind> {
    let (dir, name, there) = state.find(path)?;
    if state.node(there.ok_or(Kind::NotFound)?).kind == FileKind::Directory {
        return Err(Kind::IsADirectory);
    }
    state.edit(&[(dir, name, None)]);
    state.touch(path, true);
    Ok(())
}

fn rename(state: &mut State, from: &[&str], to: &[&str], how: RenameHow) -> Result<(), Kind> {
    let lacking = match how {
        RenameHow::Exchange => state.faults.no_exchange,
        RenameHow::NoReplace => state.faults.no_noreplace,
        RenameHow::Replace => false,
    };
    if lacking || (to.starts_with(from) && to != from) {
        return Err(Kind::Unsupported);
    }
    let (from_dir, from_name, moved) = state.find(from)?;
    let (to_dir, to_name, there) = state.find(to)?;
    let moved = moved.ok_or(Kind::NotFound)?;
    let left = match (how, there) {
        (RenameHow::Exchange, None) => return Err(Kind::NotFound),
        (RenameHow::Exchange, there) => there,
        (RenameHow::NoReplace, Some(_)) => return Err(Kind::Exists),
        (_, Some(there)) if there == moved => return Ok(()),
        (_, Some(there)) => {
            let (old, new) = (state.node(there), state.node(moved));
            match (old.kind == FileKind::Directory, new.kind == FileKind::Directory) {
                (true, false) => return Err(Kind::IsADirectory),
                (false, true) => return Err(Kind::NotADirectory),
                (true, true) if !old.names.is_empty() => return Err(Kind::NotEmpty),
                _ => None,
            }
        }
        (_, None) => None,
    };
    state.edit(&[(from_dir, from_name, left), (to_dir, to_name, Some(moved))]);
    state.touch(from, left.is_none());
    state.touch(to, false);
    Ok(())
}

impl Volume for Memory {
    fn stat_by_path(&self) -> Result<Option<Stat>, FsError> {
        let state = self.state();
        let mut stat = state.stat(ROOT);
        if state.faults.mounted_over {
            stat.dev += 1;
        }
        Ok((!state.faults.unmounted).then_some(stat))
    }

    fn file_system_id(&self) -> Result<u64, FsError> {
        Ok(1)
    }

    fn stat(&self, place: Place<'_>) -> Result<Option<Stat>, FsError> {
        self.look("look at", place, |state, path| match existing(state, path) {
            Ok(ino) => Ok(Some(state.stat(ino))),
            Err(Kind::NotFound | Kind::NotADirectory) => Ok(None),
            Err(kind) => Err(kind),
        })
    }

    fn list(&self, place: Place<'_>) -> Result<Listing, FsError> {
        self.look("list", place, |state, path| {
            let dir = state.directory(path)?;
            let mut listing = Listing::default();
            for (name, ino) in &state.node(dir).names {
                if dir != ROOT || name != PRIVATE_NAME {
                    let name = SafeName::parse(name).expect("every name here came from a path");
                    listing.entries.push((name, state.stat(*ino)));
                }
            }
            Ok(listing)
        })
    }

    fn open(&self, place: Place<'_>) -> Result<Box<dyn ReadAt>, FsError> {
        let ino = self.look("open", place, opened)?;
        Ok(Box::new(self.handle(place, ino)))
    }

    fn open_write(&self, place: Place<'_>) -> Result<(Box<dyn WriteAt>, bool), FsError> {
        let (ino, made) = self.change("open for writing", place, |state, path| {
            let (dir, name, there) = state.find(path)?;
            if there.is_none() {
                let ino = state.make_node(FileKind::File, Vec::new(), 0o600);
                state.edit(&[(dir, name, Some(ino))]);
                state.touch(path, false);
            }
            Ok((opened(state, path)?, there.is_none()))
        })?;
        Ok((Box::new(self.handle(place, ino)), made))
    }

    fn read_link(&self, place: Place<'_>) -> Result<String, FsError> {
        self.look("read the link", place, |state, path| {
            let node = state.node(existing(state, path)?);
            match node.kind {
                FileKind::Symlink => {
                    String::from_utf8(node.data.to_vec()).map_err(|_| Kind::Unrepresentable)
                }
                _ => Err(Kind::Unsupported),
            }
        })
    }

    fn symlink(&self, target: &str, place: Place<'_>) -> Result<(), FsError> {
        self.add("make the link", place, (FileKind::Symlink, target.into(), 0o777))
    }

    fn mkdir(&self, place: Place<'_>, mode: u32) -> Result<(), FsError> {
        self.add("make the directory", place, (FileKind::Directory, Vec::new(), mode))
    }

    fn rmdir(&self, place: Place<'_>) -> Result<(), FsError> {
        self.change("remove the directory", place, |state, path| {
            let (dir, name, there) = state.find(path)?;
            let node = state.node(there.ok_or(Kind::NotFound)?);
            if node.kind != FileKind::Directory {
                return Err(Kind::NotADirectory);
            }
            if !node.names.is_empty() {
                return Err(Kind::NotEmpty);
            }
            state.edit(&[(dir, name, None)]);
            state.touch(path, true);
            Ok(())
        })
    }

    fn unlink(&self, place: Place<'_>) -> Result<(), FsError> {
        self.change("remove", place, unlink)
    }

    fn link(&self, from: Place<'_>, to: Place<'_>) -> Result<(), FsError> {
        self.change("link to", to, |state, to| {
            let ino = existing(state, &from.components())?;
            if state.faults.no_links {
                return Err(Kind::Unsupported);
            }
            let (dir, name, there) = state.find(to)?;
            if there.is_some() {
                return Err(Kind::Exists);
            }
            state.edit(&[(dir, name, Some(ino))]);
            state.touch(to, false);
            Ok(())
        })
    }

    fn rename(&self, from: Place<'_>, to: Place<'_>, how: RenameHow) -> Result<(), FsError> {
        self.change("move to", to, |state, to| rename(state, &from.components(), to, how))
    }

    fn set_mode(&self, place: Place<'_>, mode: u32) -> Result<(), FsError> {
        self.change("set the mode of", place, |state, path| {
            let ino = existing(state, path)?;
            if !matches!(state.node(ino).kind, FileKind::File | FileKind::Directory) {
                return Err(Kind::NotAFile);
            }
            state.set_attributes(ino, Some(mode), None);
            state.touch(path, false);
            Ok(())
        })
    }

    fn set_mtime(&self, place: Place<'_>, mtime_ns: i64) -> Result<(), FsError> {
        self.change("set the time of", place, |state, path| {
            let ino = existing(state, path)?;
            state.set_attributes(ino, None, Some(mtime_ns));
            state.touch(path, false);
            Ok(())
        })
    }

    fn measure(&self, place: Place<'_>) -> Result<u64, FsError> {
        self.look("measure", place, |state, path| {
            let mut todo = vec![state.directory(path)?];
            let mut bytes = 0;
            while let Some(ino) = todo.pop() {
                let node = state.node(ino);
                bytes += node.data.len() as u64;
                todo.extend(node.names.values());
            }
            Ok(bytes)
        })
    }

    fn remove_tree(&self, place: Place<'_>) -> Result<(), FsError> {
        if !place.is_private() {
            return Err(failure("remove", place, Kind::Permission));
        }
        self.change("remove", place, |state, path| {
            let (dir, name, there) = state.find(path)?;
            state.remove_below(there.ok_or(Kind::NotFound)?);
            state.edit(&[(dir, name, None)]);
            Ok(())
        })
    }

    fn sync_dir(&self, place: Place<'_>) -> Result<(), FsError> {
        self.change("make durable", place, |state, path| {
            state.directory(path)?;
            state.sync_names();
            Ok(())
        })
    }

    fn sync_all(&self) -> Result<(), FsError> {
        let mut state = self.state();
        state.enter(true).map_err(|kind| failure("make durable", "", kind))?;
        state.sync_all();
        Ok(())
    }

    fn space(&self) -> Result<Space, FsError> {
        let state = self.state();
        let total = state.capacity();
        Ok(Space { free: total.saturating_sub(state.used()), total })
    }
}
