//! Counting words: what each worker does with its files, and `--verify` with all of them.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use bytemuck::{Pod, Zeroable};
use foldhash::{HashMap, HashMapExt};
use serde::{Deserialize, Serialize};

/// A file with a NUL in its first bytes, this many, is binary.
const PROBE: usize = 8 << 10;
/// How much of a file is in memory at a time, unless one word is longer.
const BLOCK: usize = 1 << 20;

/// How often each word came; words are UTF-8, in lower case.
pub type Words = HashMap<Box<[u8]>, u64>;

/// What was counted, but for the single words. Plain data, so that it can lie in a `Value`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable, Serialize, Deserialize)]
#[repr(C)]
pub struct Totals {
    pub files: u64,
    pub bytes: u64,
    pub words: u64,
    pub binary: u64,
    pub unreadable: u64,
}

impl Totals {
    pub fn add(&mut self, other: &Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.words += other.words;
        self.binary += other.binary;
        self.unreadable += other.unreadable;
    }

    /// Files that were looked at, whatever came of it.
    pub fn seen(&self) -> u64 {
        self.files + self.binary + self.unreadable
    }
}

/// Counts the words of files.
pub struct Counter {
    pub totals: Totals,
    pub words: Words,
    /// What could not be read, and why.
    pub failures: Vec<String>,
    block: Vec<u8>,
    word: Vec<u8>,
}

impl Counter {
    pub fn new() -> Self {
        Self {
            totals: Totals::default(),
            words: Words::new(),
            failures: Vec::new(),
            block: vec![0; BLOCK],
            word: Vec::new(),
        }
    }

    /// Forgets what was counted and keeps the memory.
    pub fn clear(&mut self) {
        self.totals = Totals::default();
        self.words.clear();
        self.failures.clear();
    }

    /// Counts one file. What is read before a failure is counted too.
    pub fn add_file(&mut self, path: &Path) {
        match self.read(path) {
            Ok(true) => self.totals.files += 1,
            Ok(false) => self.totals.binary += 1,
            Err(error) => self.add_failure(path, &error),
        }
    }

    pub fn add_failure(&mut self, path: &Path, error: &io::Error) {
        self.totals.unreadable += 1;
        self.failures.push(format!("{}: {error}", path.display()));
    }

    /// Counts the words of a file and says whether it is text.
    fn read(&mut self, path: &Path) -> io::Result<bool> {
        let mut file = File::open(path)?;
        let mut block = std::mem::take(&mut self.block);
        let text = self.read_blocks(&mut file, &mut block);
        self.block = block;
        text
    }

    fn read_blocks(&mut self, file: &mut File, block: &mut Vec<u8>) -> io::Result<bool> {
        let mut len = 0;
        let mut first = true;
        loop {
            if len == block.len() {
                block.resize(len * 2, 0);
            }
            let read = match file.read(&mut block[len..]) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if first && block[..read.min(PROBE)].contains(&0) {
                return Ok(false);
            }
            first = false;
            len += read;
            self.totals.bytes += read as u64;
            // The last word may go on in the next block, so it waits for that.
            let whole =
                block[..len].iter().rposition(|&byte| CLASS[usize::from(byte)] == SEPARATOR).unwrap_or(0);
            self.add_text(&block[..whole]);
            block.copy_within(whole..len, 0);
            len -= whole;
        }
        self.add_text(&block[..len]);
        Ok(true)
    }

    /// Counts the words of `text`; bytes that are no UTF-8 separate words.
    fn add_text(&mut self, text: &[u8]) {
        let text = match str::from_utf8(text) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => String::from_utf8_lossy(text),
        };
        let mut word = std::mem::take(&mut self.word);
        for piece in text.as_bytes().split(|&byte| CLASS[usize::from(byte)] == SEPARATOR) {
            let class = piece.iter().fold(0, |class, &byte| class | CLASS[usize::from(byte)]);
            match class {
                SEPARATOR => {}
                // Nearly every piece is in lower case already and counts as it stands.
                LOWER => self.add_word(piece),
                _ if class & OTHER == 0 => {
                    word.clear();
                    word.extend(piece.iter().map(u8::to_ascii_lowercase));
                    self.add_word(&word);
                }
                _ => self.add_unicode(&String::from_utf8_lossy(piece)),
            }
        }
        self.word = word;
    }

    /// Counts the words between two ASCII separators, where other characters may separate words too.
    fn add_unicode(&mut self, piece: &str) {
        for word in piece.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            let word: String = word.chars().flat_map(char::to_lowercase).collect();
            self.add_word(word.as_bytes());
        }
    }

    fn add_word(&mut self, word: &[u8]) {
        self.totals.words += 1;
        add(&mut self.words, word, 1);
    }
}

/// Adds `count` for a word.
pub fn add(words: &mut Words, word: &[u8], count: u64) {
    // Allocates only for a word that is new.
    match words.get_mut(word) {
        Some(n) => *n += count,
        None => drop(words.insert(word.into(), count)),
    }
}

// What a byte is: bits, so that those of a word's bytes can be joined.
const SEPARATOR: u8 = 0;
const LOWER: u8 = 1;
const UPPER: u8 = 2;
const OTHER: u8 = 4;

const CLASS: [u8; 256] = {
    let mut classes = [OTHER; 256];
    let mut byte = 0u8;
    while byte.is_ascii() {
        classes[byte as usize] = match byte {
            b'a'..=b'z' | b'0'..=b'9' => LOWER,
            b'A'..=b'Z' => UPPER,
            _ => SEPARATOR,
        };
        byte += 1;
    }
    classes
};
