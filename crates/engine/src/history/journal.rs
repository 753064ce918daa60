//! The journal of the history: what was noted, in order, in a file of the folder itself.
//!
//! ```text
//! head     "dunlin history 1" (16 bytes), generation (8 bytes, drawn when the file was begun)
//! frame    length of the entry (u32, little endian), first 8 bytes of its BLAKE3, entry
//! entry    bincode of [`Entry`]'s stored form
//! ```
//!
//! It is read up to the first frame that is cut off or damaged: what a power cut has torn is the
//! end of it.

use bincode::{Decode, Encode};
use dunlin_tree::fs::{FsError, ReadAt};

use super::lists::PIECE_BYTES_MAX;
use super::record::{RECORD_BYTES_MAX, Record};

/// What a journal begins with.
const MAGIC: &[u8; 16] = b"dunlin history 1";
/// Bytes of the head.
pub const HEAD_BYTES: u64 = 24;
/// Bytes before each entry.
const FRAME_BYTES: usize = 12;
/// The most bytes of an entry.
const ENTRY_BYTES_MAX: usize = RECORD_BYTES_MAX + 1024;
/// Versions that one entry forgets at most.
pub const FORGET_MAX: usize = 1000;

/// One thing that was noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A version; of two with one number the later one counts.
    Version(Box<Record>),
    /// These versions are kept no more; at most [`FORGET_MAX`].
    Forget(Vec<u64>),
    /// A piece of a list of blocks.
    Piece(Vec<u8>),
}

#[derive(Encode, Decode)]
enum Stored {
    Version(Vec<u8>),
    Forget(Vec<u64>),
    Piece(Vec<u8>),
}

impl Entry {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let config = bincode::config::standard().with_limit::<{ 2 * ENTRY_BYTES_MAX }>();
        let (stored, read): (Stored, usize) = bincode::decode_from_slice(bytes, config).ok()?;
        if read != bytes.len() {
            return None;
        }
        match stored {
            Stored::Version(record) => Record::decode(&record).map(Box::new).map(Self::Version),
            Stored::Forget(ids) => (ids.len() <= FORGET_MAX).then_some(Self::Forget(ids)),
            Stored::Piece(piece) => (piece.len() <= PIECE_BYTES_MAX).then_some(Self::Piece(piece)),
        }
    }

    /// Encodes it with the frame around it.
    pub fn frame(&self) -> Vec<u8> {
        let stored = match self {
            Self::Version(record) => Stored::Version(record.encode()),
            Self::Forget(ids) => Stored::Forget(ids.clone()),
            Self::Piece(piece) => Stored::Piece(piece.clone()),
        };
        let entry = bincode::encode_to_vec(stored, bincode::config::standard())
            .expect("encoding into memory cannot fail");
        let len = u32::try_from(entry.len()).expect("entries are bounded far below 4 GiB");
        let mut frame = Vec::with_capacity(FRAME_BYTES + entry.len());
        frame.extend_from_slice(&len.to_le_bytes());
        frame.extend_from_slice(&blake3::hash(&entry).as_bytes()[..8]);
        frame.extend_from_slice(&entry);
        frame
    }
}

/// The head of a journal.
pub fn head(generation: u64) -> Vec<u8> {
    [&MAGIC[..], &generation.to_le_bytes()].concat()
}

/// The generation of a journal; `None` when the file is none, or empty.
///
/// # Errors
/// Whatever the disk reports.
pub fn generation(file: &dyn ReadAt) -> Result<Option<u64>, FsError> {
    let mut head = [0; HEAD_BYTES as usize];
    if read_full(file, &mut head, 0)? < head.len() {
        return Ok(None);
    }
    let (magic, generation) = head.split_at(MAGIC.len());
    let generation: Option<[u8; 8]> = generation.try_into().ok();
    Ok(generation.filter(|_| magic == MAGIC).map(u64::from_le_bytes))
}

/// Reads a journal from a place on, an entry at a time.
pub struct Reader<'a> {
    file: &'a dyn ReadAt,
    at: u64,
}

impl<'a> Reader<'a> {
    /// Reads from `at` on: [`HEAD_BYTES`], or where an entry ends.
    pub fn new(file: &'a dyn ReadAt, at: u64) -> Self {
        Self { file, at }
    }

    /// Where the last entry that was read ends, in bytes.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The next entry; `None` at the end of what is whole.
    ///
    /// # Errors
    /// Whatever the disk reports.
    pub fn read_next(&mut self) -> Result<Option<Entry>, FsError> {
        let mut frame = [0; FRAME_BYTES];
        if read_full(self.file, &mut frame, self.at)? < FRAME_BYTES {
            return Ok(None);
        }
        let (len, check) = frame.split_at(4);
        let len = u32::from_le_bytes([len[0], len[1], len[2], len[3]]) as usize;
        if len > ENTRY_BYTES_MAX {
            return Ok(None);
        }
        let mut entry = vec![0; len];
        let from = self.at + FRAME_BYTES as u64;
        if read_full(self.file, &mut entry, from)? < len
            || blake3::hash(&entry).as_bytes()[..8] != *check
        {
            return Ok(None);
        }
        let Some(entry) = Entry::decode(&entry) else { return Ok(None) };
        self.at = from + len as u64;
        Ok(Some(entry))
    }
}

/// Reads until the buffer is full or the file ends; returns how many bytes came.
fn read_full(file: &dyn ReadAt, buffer: &mut [u8], offset: u64) -> Result<usize, FsError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use dunlin_tree::fs::{Fs, MemFs, TempName};

    use super::*;

    fn read_all(bytes: &[u8]) -> (Vec<Entry>, u64) {
        let fs = MemFs::new(1);
        let temp = TempName::parse("journal").expect("a name");
        let file = fs.temp_create(&temp, 0).expect("made");
        file.write_at(bytes, 0).expect("written");
        file.set_len(bytes.len() as u64).expect("set");
        let mut reader = Reader::new(&*file, HEAD_BYTES);
        let mut entries = Vec::new();
        while let Some(entry) = reader.read_next().expect("read") {
            entries.push(entry);
        }
        (entries, reader.at())
    }

    #[test]
    fn what_was_noted_is_read_up_to_a_torn_end() {
        let entries = [Entry::Forget(vec![1, 2]), Entry::Piece(vec![9; 36]), Entry::Forget(vec![])];
        let mut bytes = head(5);
        let mut ends = vec![bytes.len()];
        for entry in &entries {
            bytes.extend(entry.frame());
            ends.push(bytes.len());
        }
        assert_eq!(read_all(&bytes).0, entries);
        for len in HEAD_BYTES as usize..bytes.len() {
            let whole = ends.iter().filter(|end| **end <= len).count() - 1;
            let (read, at) = read_all(&bytes[..len]);
            assert_eq!((read.len(), at), (whole, ends[whole] as u64), "{len}");
        }
    }

    #[test]
    fn a_flipped_bit_ends_it_and_makes_nothing_up() {
        let bytes = [head(5), Entry::Forget(vec![7]).frame(), Entry::Piece(vec![1; 36]).frame()];
        let bytes = bytes.concat();
        for at in HEAD_BYTES as usize..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            assert!(read_all(&bad).0.len() < 2, "{at}");
        }
    }
}
