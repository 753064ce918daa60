//! A long text and what people do to it, without randomness; for the tests and the benchmark.

/// Draws numbers that only look random (xorshift).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Returns a number below `below`.
    pub(crate) fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % below
    }

    fn word(&mut self) -> String {
        (0..2 + self.roll(8)).map(|_| char::from(b'a' + self.roll(26) as u8)).collect()
    }
}

/// Returns prose of about `len` bytes: lines of a dozen words, a blank line now and then.
pub(crate) fn prose(len: usize, dice: &mut Dice) -> String {
    let mut text = String::with_capacity(len + 16);
    let mut column = 0;
    while text.len() < len {
        text.push_str(&dice.word());
        column += 1;
        let end = column == 12;
        text.push_str(if !end {
            " "
        } else if dice.roll(6) == 0 {
            "\n\n"
        } else {
            "\n"
        });
        column = if end { 0 } else { column };
    }
    text.truncate(len);
    text
}

/// Makes `count` edits all over the text: words replaced, words and lines put in and taken out,
/// so that its length stays about the same.
pub(crate) fn scribble(text: &str, count: usize, dice: &mut Dice) -> String {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    for _ in 0..count {
        let at = dice.roll(lines.len());
        let mut words: Vec<String> = lines[at].split(' ').map(str::to_owned).collect();
        let word = dice.roll(words.len());
        match dice.roll(20) {
            0 => lines.insert(at, format!("{} {}", dice.word(), dice.word())),
            1 if lines.len() > 1 => {
                lines.remove(at);
            }
            2..8 => {
                words.insert(word, dice.word());
                lines[at] = words.join(" ");
            }
            8..14 if words.len() > 1 => {
                words.remove(word);
                lines[at] = words.join(" ");
            }
            _ => {
                words[word] = dice.word();
                lines[at] = words.join(" ");
            }
        }
    }
    lines.join("\n")
}
