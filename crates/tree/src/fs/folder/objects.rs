//! The objects of the version store, and what leaves it.
//!
//! An object's name is the hash of what it holds. It comes into its place by a rename, once its
//! content is durable: so a name that is there always leads to a whole object.

use super::*;

impl<V: Volume> Folder<V> {
    /// Puts a temporary file into the store of objects.
    pub(super) fn put_object(&self, temp: &TempName, object: &ObjectName) -> Result<(), FsError> {
        let (from, to) = (Place::Temp(temp), Place::Object(object));
        let renamed = match self.rename_new(from, to) {
            Err(error) if error.kind() == Kind::NotFound => {
                self.make_shard(object)?;
                self.rename_new(from, to)
            }
            other => other,
        };
        match renamed {
            Err(error) if error.kind() == Kind::Exists => self.volume.unlink(from),
            other => other,
        }
    }

    fn make_shard(&self, object: &ObjectName) -> Result<(), FsError> {
        self.make_private_area()?;
        unless_exists(self.volume.mkdir(Place::Store(OBJECTS_DIR), 0o700))?;
        unless_exists(self.volume.mkdir(Place::Shard(object.shard()), 0o700))
    }

    /// All objects whose hashes begin with a byte. Whatever else lies there is left out.
    pub(super) fn list_objects(&self, first_byte: u8) -> Result<Vec<(ObjectName, u64)>, FsError> {
        let shard = format!("{first_byte:02x}");
        let listing = match self.volume.list(Place::Shard(&shard)) {
            Err(error) if error.kind() == Kind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let object = |(name, stat): (SafeName, Stat)| {
            let object = ObjectName::parse(name.as_str())?;
            let here = stat.kind == FileKind::File && object.shard() == shard;
            here.then_some((object, stat.size))
        };
        Ok(listing.entries.into_iter().filter_map(object).collect())
    }

    /// Removes a kept version, and the directories above it in its batch that are empty then.
    pub(super) fn remove_kept(&self, version: &VersionId) -> Result<(), FsError> {
        let VersionId { batch, path } = version;
        match self.volume.unlink(Place::Kept(batch, path)) {
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) if error.kind() == Kind::IsADirectory => {
                self.volume.rmdir(Place::Kept(batch, path))?;
            }
            other => other?,
        }
        self.forget_size(batch);
        let mut above = path.parent();
        while let Some(directory) = above {
            match self.volume.rmdir(Place::Kept(batch, &directory)) {
                Ok(()) => {}
                Err(error) if error.kind() == Kind::NotFound => {}
                // Something else is kept there, be it that this was put there just now.
                Err(error) if matches!(error.kind(), Kind::NotEmpty | Kind::Exists) => break,
                Err(error) => return Err(error),
            }
            above = directory.parent();
        }
        Ok(())
    }
}
