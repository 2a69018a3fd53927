//! `docs/ref/diagnosis.md` against the fault codes in the sources.

use std::collections::BTreeSet;

use crate::support::{agree, read, sources, told};

fn is_code(word: &str) -> bool {
    word.len() > 2 && word.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

/// The first text literal behind each `call`.
fn behind(text: &str, call: &str, codes: &mut BTreeSet<String>) {
    for rest in text.split(call).skip(1) {
        let rest = rest.trim_start();
        if let Some(code) = rest.strip_prefix('"').and_then(|r| r.split('"').next())
            && is_code(code)
        {
            codes.insert(code.to_owned());
        }
    }
}

fn real() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for (name, text) in sources() {
        behind(&text, "Fault::new(", &mut codes);
        if name.ends_with("/faults.rs") {
            for call in ["fault(", "=> w("] {
                behind(&text, call, &mut codes);
            }
        }
    }
    for code in bridge_gb28181::faults::CODES {
        codes.insert((*code).to_owned());
    }
    for reason in bridge_phone::FAULTS {
        codes.insert(reason.code().to_owned());
    }
    for reason in bridge_radio::FAULTS {
        codes.insert(reason.code().to_owned());
    }
    for reason in bridge_satphone::FAULTS {
        codes.insert(reason.code().to_owned());
    }
    assert!(codes.len() > 50, "the faults are not where they were: {codes:?}");
    codes
}

#[test]
fn the_page_tells_every_fault_code() {
    agree(&told(&read("docs/ref/diagnosis.md"), ""), &real());
}

/// The sentences of the page are those of the program, as far as they hold no number.
#[test]
fn the_page_says_what_the_program_says() {
    let page = read("docs/ref/diagnosis.md");
    let mut wrong = Vec::new();
    let phone = bridge_phone::FAULTS.map(bridge_phone::Reason::fault);
    for fault in phone.into_iter().chain(bridge_radio::FAULTS.map(bridge_radio::Reason::fault)) {
        for sentence in [&fault.zh, &fault.en, &fault.next_zh, &fault.next_en] {
            if !page.contains(sentence.as_str()) {
                wrong.push(format!("{}: {sentence}", fault.code));
            }
        }
    }
    let seen = [
        bridge_gb28181::faults::bad_answer("N"),
        bridge_gb28181::faults::device_offline("N"),
        bridge_gb28181::faults::no_parameter_sets(1),
        bridge_gb28181::faults::unknown_channel("N"),
    ];
    for fault in seen {
        for sentence in [&fault.next_zh, &fault.next_en] {
            if !page.contains(sentence.as_str()) {
                wrong.push(format!("{}: {sentence}", fault.code));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
