//! The short form of fuzzing: the corpus, and mutations of it that are the same in every run.
//!
//! `OKRA_FUZZ_RUNS` sets how many mutations each target gets.

use std::fs;
use std::path::PathBuf;

use fuzz::TARGETS;

#[test]
fn the_corpus_and_its_mutations_find_nothing() -> std::io::Result<()> {
    let runs: u64 = std::env::var("OKRA_FUZZ_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(2_000);
    for (name, check) in TARGETS {
        let corpus = corpus(name)?;
        assert!(corpus.len() >= 3, "{name} has next to no corpus");
        corpus.iter().for_each(|input| check(input));
        for seed in 0..runs {
            let input = mutated(&corpus, seed);
            let tried = std::panic::catch_unwind(|| check(&input));
            assert!(tried.is_ok(), "{name}, seed {seed}: {:?}", String::from_utf8_lossy(&input));
        }
    }
    Ok(())
}

fn corpus(name: &str) -> std::io::Result<Vec<Vec<u8>>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("corpus").join(name)];
    if name == "graph_document" {
        // What is documented is the best corpus there is.
        folders.push(root.join("../graphs"));
    }
    let mut files = Vec::new();
    for folder in folders {
        for entry in fs::read_dir(folder)? {
            files.push(entry?.path());
        }
    }
    files.sort();
    files.iter().filter(|path| path.is_file()).map(fs::read).collect()
}

/// One of the corpus, changed in a few places: bytes flipped, removed, doubled, or taken from another.
fn mutated(corpus: &[Vec<u8>], seed: u64) -> Vec<u8> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut input = corpus[random.below(corpus.len())].clone();
    let other = &corpus[random.below(corpus.len())];
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        let until = (at + 1 + random.below(16)).min(input.len());
        match random.below(6) {
            0 if at < until => input[at] ^= 1 << random.below(8),
            1 if at < until => drop(input.drain(at..until)),
            2 if at < until => {
                let piece = input[at..until].to_vec();
                input.splice(at..at, piece);
            }
            3 => {
                let from = random.below(other.len() + 1);
                let piece = other[from..(from + random.below(64)).min(other.len())].to_vec();
                input.splice(at..at, piece);
            }
            4 => input.truncate(at),
            _ => input.insert(at, INTERESTING[random.below(INTERESTING.len())]),
        }
    }
    input
}

/// Bytes that mean something to one parser or another.
const INTERESTING: &[u8] = b"\0\x01\x7f\x80\xff\n\"\\{}[]:,.#=-+0123456789eESmunHM";

/// Numbers without pattern, the same for the same seed (xorshift).
struct Random(u64);

impl Random {
    #[expect(clippy::cast_possible_truncation, reason = "it is below a `usize`")]
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}
