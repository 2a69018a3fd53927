//! Entry point for the fuzzers: bytes of a terminal go in, nothing may panic or grow without bound.

use crate::config::Generation;
use crate::content::{encoded, feedback, own_place, pieces, received, send, told};
use crate::sentence::{Lines, MOST_LINE, Sentence, write};

/// Lines of a terminal, and each line as a sentence with the right sum. A text that was read is written and read as the same.
pub fn satphone(data: &[u8]) {
    let mut lines = Lines::default();
    let mut whole = lines.push(data);
    whole.extend(lines.push(b"\n"));
    assert!(whole.iter().all(|l| l.len() <= MOST_LINE));
    for line in whole {
        look(&line);
        let sum = line.iter().fold(0, |all, b| all ^ b);
        look(&[&b"$"[..], &line, format!("*{sum:02X}").as_bytes()].concat());
    }
}

fn look(line: &[u8]) {
    let Ok(sentence) = Sentence::parse(line) else { return };
    let _ = (feedback(&sentence), own_place(&sentence));
    for generation in [Generation::Bds2, Generation::Bds3] {
        let Some(got) = received(generation, &sentence) else { continue };
        assert!(!got.text.is_empty() && !got.from.is_empty());
        let _ = told(&got.from, &got.text);
        for piece in pieces(&got.text, 70) {
            assert!(encoded(&piece).len() <= 70 && !piece.is_empty());
            let written = write(&send(generation, "4238473", 2, &piece));
            let read = Sentence::parse(written.trim_ascii_end());
            assert!(read.is_ok_and(|s| s.kind.starts_with("CC")), "what is written is a sentence");
        }
    }
}
