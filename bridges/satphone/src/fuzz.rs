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

#[cfg(test)]
mod tests {
    /// Not a fuzzer: some thousands of broken sentences on every run of the tests.
    #[test]
    fn broken_sentences_do_no_harm() {
        let seeds: [&[u8]; 3] = [
            b"$BDTCI,4238473,4238474,2,083010,3,0,C4E3BAC341*00\r\n$BDFKI,083010,TCQ,Y,0,60*00\r\n",
            b"BDTXR,1,0247718,2,0830,A4C4E3BAC3\nBDTCI,7,8,2,083010,1,0,\xC4\xE3\xBA\xC3,A\n",
            b"GNGGA,083010.00,3112.3400,N,12128.9100,E,1,12,0.8,14.2,M,0,M,,\nBDTCI,7,8,2,083010,2,0,502C2C312C32\n",
        ];
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as usize
        };
        for round in 0..20_000 {
            let mut data = seeds[round % seeds.len()].to_vec();
            for _ in 0..next() % 6 {
                let at = next() % data.len();
                match next() % 3 {
                    0 => data[at] = next() as u8,
                    1 => data.insert(at, next() as u8),
                    _ => {
                        data.remove(at);
                    }
                }
            }
            super::satphone(&data);
        }
    }
}
