//! Texts of this folder: what an edit carries, and what versions made apart come to on this disk.

use bytes::Bytes;
use dunlin_blocks::{FileHash, SMALL_MAX, hash_bytes};
use dunlin_identity::Hash;
use dunlin_index::{
    Content, Dot, EntryId, IndexError, Item, ItemKey, Millis, RelPath, Storage, Text,
};
use dunlin_text::{Client, TEXT_BYTES_MAX, is_text};
use dunlin_tree::disk::Row;
use dunlin_tree::fs::Fs;

use super::Folder;
use super::error::{Blocked, Refused};
use super::reconcile::Pass;
use super::rows::{holds, row_in_place};
use crate::history::How;
use crate::history::policy::Keep;
use crate::texts::{Base, Version, address_of, merged, next_version};

/// What the user has written into a file: its content, and of a text what it carries.
pub(super) struct Draft {
    pub(super) content: Content,
    /// The data of the new version; none for what is no text.
    data: Option<Bytes>,
    /// What the text was made of before, if it was one.
    pub(super) base: Option<Base>,
}

/// A text that is ready to be put on the disk.
#[derive(Clone)]
pub(super) struct Prepared {
    pub(super) text: Bytes,
    pub(super) base: Base,
}

impl Prepared {
    /// The block list of the text, when it is above the size of a small file.
    pub(super) fn hash(&self) -> Option<FileHash> {
        (self.text.len() as u64 > SMALL_MAX).then(|| hash_bytes(&self.text))
    }
}

/// What is to be done about an item that is a text.
enum Settled {
    /// The item, as it is to be on the disk.
    Show(Box<Item>),
    /// The states that it needs are not here: what is on the disk stays for now.
    Wait,
    /// Merging it is unsafe, which the index now knows.
    Apart,
}

impl Draft {
    /// A file that is no text.
    pub(super) fn plain(content: Content) -> Self {
        Self { content, data: None, base: None }
    }

    /// What is small enough to travel with the change itself.
    pub(super) fn inline(&self, bytes: Vec<u8>) -> Vec<u8> {
        match (&self.content, &self.data) {
            // The state holds the text.
            (Content::File { text: Some(Text::Grown { .. }), .. }, Some(state)) => state.to_vec(),
            _ => bytes,
        }
    }
}

impl<F: Fs, S: Storage> Folder<F, S> {
    /// Whether a file may be a text, by its name and size.
    pub(super) fn may_be_text(&self, path: &RelPath, size: u64) -> bool {
        size <= TEXT_BYTES_MAX as u64 && self.patterns.is_text_name(&path.to_string())
    }

    /// Makes of what the user wrote into a file, at `row` if it was there before, what its record
    /// says.
    pub(super) fn draft(
        &self,
        row: Option<&Row>,
        path: &RelPath,
        content: Content,
        bytes: &[u8],
    ) -> Result<Draft, Refused> {
        let text = is_text(bytes).filter(|_| self.may_be_text(path, bytes.len() as u64));
        let (Some(new), Content::File { root, size, mtime_ns, .. }) = (text, &content) else {
            return Ok(Draft::plain(content));
        };
        let base = match row {
            Some(row) => self.base_of(row)?,
            None => None,
        };
        let author = self.index.author();
        let client = Client::of(author.device.as_bytes(), author.epoch);
        let seen = base.as_ref().is_some_and(|base| self.all_have(&base.dots()));
        let (text, data) = next_version(base.as_ref(), (client, self.text_rules), new, seen);
        let (root, size, mtime_ns) = (*root, *size, *mtime_ns);
        let content = Content::File { root, size, mtime_ns, text: Some(text) };
        Ok(Draft { content, data: Some(data), base })
    }

    /// Whether all members are known to hold these changes.
    fn all_have(&self, dots: &[Dot]) -> bool {
        let members = self.index.members();
        let active = members.iter().filter(|member| !member.removed).map(|member| member.device);
        self.replicator.have_seen(active, dots)
    }

    /// What a row's file is made of, if that is known.
    pub(super) fn base_of(&self, row: &Row) -> Result<Option<Base>, Refused> {
        let Some(root) = &row.root else { return Ok(None) };
        let base = self.texts.get(row.id, root)?;
        let shown = |base: &Base| base.versions.first().map(|version| version.dot);
        Ok(base.filter(|base| shown(base) == row.item.dot))
    }

    /// The versions of a text that are on the disk beside the one that the row names.
    pub(super) fn also(&self, row: &Row) -> Result<Vec<Dot>, Refused> {
        let Some(root) = &row.root else { return Ok(Vec::new()) };
        let dots = self.texts.dots(row.id, root)?;
        match dots.split_first() {
            Some((shown, also)) if Some(*shown) == row.item.dot => Ok(also.to_vec()),
            _ => Ok(Vec::new()),
        }
    }

    /// The item whose merge has this content, when it was put on the disk just before a crash: so
    /// it is no edit of the user's.
    pub(super) fn put_before(
        &self,
        row: &Row,
        content: &Content,
    ) -> Result<Option<ItemKey>, Refused> {
        let Content::File { root, text: Some(_), .. } = content else { return Ok(None) };
        let dots = self.texts.dots(row.id, root)?;
        if dots.len() < 2 || row.root == Some(*root) {
            return Ok(None);
        }
        let items = self.index.items(row.item.entry)?;
        let is_shown = |item: &&Item| wanted_dots(item) == dots;
        Ok(items.iter().find(is_shown).map(|item| item.key))
    }

    /// Keeps the text that the user's edit has replaced, if `base` says what it was: of other files,
    /// only what peers replace can be kept.
    pub(super) fn keep_text(
        &mut self,
        row: &Row,
        base: Option<&Base>,
        path: &RelPath,
        now: Millis,
    ) -> Result<(), Refused> {
        if self.versions().keep == Keep::None {
            return Ok(());
        }
        let text = base.and_then(Base::text);
        let Some(text) = text.filter(|text| row.root == Some(hash_bytes(text.as_bytes()).root))
        else {
            return Ok(());
        };
        Ok(self.keep_bytes(row, path, text.as_bytes(), How::Edited, now)?)
    }

    /// Keeps what the file of a row is made of, after the user's edit.
    pub(super) fn keep_draft(&self, row: &Row, draft: Draft) -> Result<(), Refused> {
        let (Some(data), Some(dot), Some(root)) = (draft.data, row.item.dot, row.root) else {
            return Ok(());
        };
        let versions = vec![Version { dot, content: draft.content, data }];
        let kept = self.texts.put(row.id, &Base { root, versions });
        Ok(kept?)
    }

    /// Whether an item stands on this disk where and as the view shows it. Of a text that several
    /// versions make up, the row's content alone does not tell.
    pub(super) fn is_applied(&self, item: &Item) -> Result<bool, IndexError> {
        let Some(row) = row_in_place(&self.rows, item)? else { return Ok(false) };
        if item.merged.is_empty() {
            return Ok(holds(&row, &item.content));
        }
        let Some(root) = row.root else { return Ok(false) };
        Ok(self.texts.dots(row.id, &root)? == wanted_dots(item))
    }

    /// Settles what is to be on the disk of an entry's texts: merges what can be merged, asks for
    /// the states that are lacking, and keeps the bases of what is there.
    pub(super) fn settle_texts(
        &mut self,
        entry: EntryId,
        rows: &[Row],
        pass: &mut Pass,
    ) -> Result<Vec<Item>, Blocked> {
        'again: loop {
            let mut settled = Vec::new();
            let items = self.index.items(entry)?;
            let keys: Vec<ItemKey> = items.iter().map(|item| item.key).collect();
            for item in items {
                if address_of(&item.content).is_none() {
                    settled.push(item);
                    continue;
                }
                match self.settle_text(item.clone(), rows, pass)? {
                    Settled::Show(item) => settled.push(*item),
                    Settled::Wait => settled.extend(as_on_disk(item, rows, &keys)),
                    Settled::Apart => continue 'again,
                }
            }
            return Ok(settled);
        }
    }

    fn settle_text(
        &mut self,
        mut item: Item,
        rows: &[Row],
        pass: &mut Pass,
    ) -> Result<Settled, Blocked> {
        let dots = wanted_dots(&item);
        for row in rows.iter().filter(|row| row.item == item.key) {
            if let Some(root) = row.root
                && self.texts.dots(row.id, &root)? == dots
            {
                show(&mut item, root, row.stat.size);
                return Ok(Settled::Show(Box::new(item)));
            }
        }
        let Some(versions) = self.versions_of(&item, rows)? else {
            return self.without_states(item, rows);
        };
        let text = match versions.as_slice() {
            [only] => only.text(),
            _ => merged(item.name.as_str(), &versions),
        };
        let Some(text) = text else {
            if item.merged.is_empty() {
                // Its state is not what its author says: it is shown without one.
                return Ok(Settled::Show(Box::new(item)));
            }
            self.index.keep_apart(item.key.entry, dots)?;
            return Ok(Settled::Apart);
        };
        let text = Bytes::from(text);
        let root = hash_bytes(&text).root;
        show(&mut item, root, text.len() as u64);
        let base = Base { root, versions };
        for row in rows.iter().filter(|row| row.root == Some(root)) {
            // The file is here already, and only what it is made of was not known.
            self.texts.put(row.id, &base)?;
        }
        pass.texts.insert(root, Prepared { text, base });
        Ok(Settled::Show(Box::new(item)))
    }

    /// The versions that an item is made of with their data; none when a state is not here, which
    /// is then wanted.
    fn versions_of(&mut self, item: &Item, rows: &[Row]) -> Result<Option<Vec<Version>>, Blocked> {
        let shown = item.key.dot.map(|dot| (dot, item.content.clone()));
        let mut versions = Vec::new();
        let mut complete = true;
        for (dot, content) in shown.into_iter().chain(item.merged.iter().cloned()) {
            match self.data_of(&content, item, rows)? {
                Some(data) => versions.push(Version { dot, content, data }),
                None => complete = false,
            }
        }
        if complete {
            return Ok(Some(versions));
        }
        // What is here must not be fetched again when the rest has come.
        for version in versions {
            if let Some((hash, _)) = address_of(&version.content) {
                self.needs.hold(hash, item.key.entry);
            }
        }
        Ok(None)
    }

    fn data_of(
        &mut self,
        content: &Content,
        item: &Item,
        rows: &[Row],
    ) -> Result<Option<Bytes>, Blocked> {
        let Some((hash, size)) = address_of(content) else { return Ok(None) };
        if let Some(data) = self.needs.blob(&hash) {
            return Ok(Some(data.clone()));
        }
        if let Some(data) = self.texts.find(&hash)? {
            return Ok(Some(data));
        }
        if let Content::File { text: Some(Text::Fresh { .. }), .. } = content {
            // Whoever has grown from it holds its operations, so a merge needs nothing of it.
            let needless = !item.merged.is_empty();
            return Ok(self.text_on_disk(&hash, rows)?.or(needless.then(Bytes::new)));
        }
        self.needs.want_state(hash, size, item.key.entry);
        Ok(None)
    }

    /// The text that one of these rows' files holds.
    fn text_on_disk(&self, root: &Hash, rows: &[Row]) -> Result<Option<Bytes>, Blocked> {
        for row in rows.iter().filter(|row| row.root == Some(*root)) {
            if row.stat.size > TEXT_BYTES_MAX as u64 {
                continue;
            }
            let path = super::rows::path_of(&self.rows, row.id)?;
            // What has changed meanwhile is looked at soon, as the user's edit.
            let Ok(text) = self.read_small(&path, &row.stat) else { continue };
            if hash_bytes(&text).root == *root {
                return Ok(Some(Bytes::from(text)));
            }
        }
        Ok(None)
    }

    /// What to do while a state is not here: of several versions the first is shown, unless one
    /// of them is on the disk already; a single one comes without its state if nobody has that.
    fn without_states(&mut self, mut item: Item, rows: &[Row]) -> Result<Settled, Blocked> {
        let dots = wanted_dots(&item);
        let here = |row: &Row| row.item.dot.is_some_and(|dot| dots.contains(&dot));
        if item.merged.is_empty() {
            let Some((state, _)) = address_of(&item.content) else {
                return Ok(Settled::Show(Box::new(item)));
            };
            let fresh =
                matches!(&item.content, Content::File { text: Some(Text::Fresh { .. }), .. });
            let plain = fresh || rows.iter().any(here) || self.needs.is_lacking(&state);
            return Ok(if plain { Settled::Show(Box::new(item)) } else { Settled::Wait });
        }
        if rows.iter().any(here) {
            return Ok(Settled::Wait);
        }
        item.merged.clear();
        Ok(Settled::Show(Box::new(item)))
    }
}

/// The versions that an item is to be made of, the shown one first.
fn wanted_dots(item: &Item) -> Vec<Dot> {
    item.key.dot.into_iter().chain(item.merged.iter().map(|(dot, _)| *dot)).collect()
}

/// The item as it stands on the disk in an older version, if it does: only its place and mode are
/// brought up to date.
fn as_on_disk(mut item: Item, rows: &[Row], keys: &[ItemKey]) -> Option<Item> {
    let own = |row: &&Row| row.item == item.key || !keys.contains(&row.item);
    let row = rows.iter().filter(|row| row.root.is_some()).find(own)?;
    item.key = row.item;
    show(&mut item, row.root?, row.stat.size);
    if let Content::File { mtime_ns, .. } = &mut item.content {
        *mtime_ns = row.stat.mtime_ns;
    }
    Some(item)
}

fn show(item: &mut Item, to: Hash, bytes: u64) {
    if let Content::File { root, size, .. } = &mut item.content {
        (*root, *size) = (to, bytes);
    }
}
